"""A private Slurm on this machine: munge, slurmctld, slurmdbd on MariaDB, and several nodes, all on loopback.

Everything lies in one folder and is started in the foreground mode of each daemon, so that it can be killed, restarted
and removed. Works as root and as an ordinary user, without systemd and without cgroups.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from job_driver import HANG_S

SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
LIBC, PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
NEEDED = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "mariadbd", "mariadb-install-db")


def missing() -> list[str]:
    return [name for name in NEEDED if shutil.which(name, path=SBIN) is None]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Cluster:
    """Partitions: `main` (default, its jobs are preempted and requeued), `high` (preempts), `cancel` (preempted jobs of
    it are cancelled). Nodes n1, n2, ... have `cpus` CPUs and `gpus` pretended GPUs each, whatever the machine has."""

    def __init__(
        self,
        root: Path,
        nodes: int = 2,
        cpus: int = 4,
        gpus: int = 2,
        grace: int = 60,
        accounting=True,
        array_size: int = 11,
        user_signal: bool = True,
        node_timeout: int = 30,
    ):
        self.root, self.cpus, self.gpus, self.grace = Path(root), cpus, gpus, grace
        self.accounting, self.array_size, self.user_signal = accounting, array_size, user_signal
        self.node_timeout = node_timeout
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.daemons: dict[str, subprocess.Popen] = {}
        self.ports = dict(zip(["ctld", "dbd", "sql", *self.nodes], free_ports(3 + nodes), strict=True))
        for name in ("bin", "etc", "run", "log", "munge", "state", "db", "dev"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.conf = self.root / "etc" / "slurm.conf"
        self.root.chmod(0o755)  # other users' jobs read their scripts below it
        self._wrap()
        self.set_prolog(0)

    @property
    def env(self) -> dict[str, str]:
        foreign = ("SLURM", "SBATCH", "SRUN", "SALLOC")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return env | {"SLURM_CONF": str(self.conf), "PATH": f"{self.root}/bin:{SBIN}"}

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=HANG_S)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout[-2000:]}{done.stderr}")
        return done.stdout.strip()

    # ---- daemons ----

    def start(self) -> Cluster:
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        key.parent.chmod(0o700)
        run = self.root / "run"
        self._launch(
            *("munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={run}/munge.s"),
            *(f"--pid-file={key.parent}/pid", f"--log-file={self.root}/log/munged.log"),
            *(f"--seed-file={key.parent}/seed", "--num-threads=2"),
        )
        self.wait(lambda: self.run("munge", "-n", "-S", f"{run}/munge.s"), "munged")
        self._configure()
        if self.accounting:
            self._database()
            self.start_dbd()
            self._accounts()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self.wait(lambda: self.idle() == len(self.nodes) or 1 / 0, "nodes")
        return self

    def start_controller(self) -> None:
        self._launch("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        self.wait(lambda: self.run("scontrol", "ping"), "slurmctld")

    def _accounts(self) -> None:
        """The QOS `short` refuses jobs of more than one minute or two CPUs at submission; `narrow` takes jobs of more
        than one CPU and never starts them; `few` takes two jobs at a time."""
        users = ",".join({getpass.getuser(), "nobody"})
        for command in (
            "add cluster test",
            "add account test",
            f"add user {users} account=test",
            "add qos short MaxWall=1 MaxTRESPerJob=cpu=2 Flags=DenyOnLimit",
            "add qos few MaxSubmitJobsPerUser=2",
            "add qos narrow MaxTRESPerJob=cpu=1",
            f"modify user {users} set qos+=short,narrow,few",
        ):
            self.run("sacctmgr", "-i", *command.split())

    def start_node(self, node: str) -> None:
        (self.root / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._launch(node, "slurmd", "-D", "-N", node, "-f", str(self.conf))

    def start_dbd(self) -> None:
        self._launch("slurmdbd", "slurmdbd", "-D")
        self.wait(lambda: self.run("sacctmgr", "-n", "show", "cluster"), "slurmdbd")

    def calls(self) -> dict[str, int]:
        """How often each client command was called."""
        path = self.root / "run" / "calls"
        return dict(Counter(path.read_text().split() if path.exists() else []))

    def idle(self) -> int:
        states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split()
        return sum(state in ("idle", "mix", "alloc") for state in states)

    def terminate(self, daemon: str) -> None:
        """SIGTERM: it writes down its state and leaves."""
        process = self.daemons.pop(daemon)
        process.terminate()
        process.wait(HANG_S)

    def kill(self, daemon: str) -> None:
        """SIGKILL, as a power cut would."""
        process = self.daemons.pop(daemon)
        process.kill()
        process.wait()

    def kill_node(self, node: str) -> None:
        """The node is gone: its daemon, its step daemons, and all processes of its jobs."""
        self.kill(node)
        for pid in self._steps(node):
            self._kill(pid)
        for pid in self.processes(node):
            self._kill(pid)

    def cut_off(self, node: str) -> None:
        """The node's daemons are gone, the processes of its jobs run on."""
        self.kill(node)
        for pid in self._steps(node):
            self._kill(pid)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            ids = self.run("squeue", "-h", "-o", "%A").split()
            if ids:
                self.run("scancel", *sorted(set(ids)), check=False)
            self.wait(lambda: self.run("squeue", "-h") == "" or 1 / 0, "jobs", 5)
        for name in list(self.daemons):
            self.kill(name)
        for pid in {*self._steps(None), *self.processes()}:
            self._kill(pid)
        shutil.rmtree(self.root, ignore_errors=True)

    def processes(self, node: str | None = None) -> list[int]:
        """Processes that jobs started here and that still run (of one node, or of all)."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                env = (path / "environ").read_bytes().split(b"\0")
                if f"SLURM_CONF={self.conf}".encode() not in env or b"Z" in (path / "stat").read_bytes().split()[2:3]:
                    continue
                names = [one[15:].decode() for one in env if one.startswith(b"SLURMD_NODENAME=")]
                if names and node in (None, names[0].lstrip("=")):
                    found.append(int(path.name))
        return found

    def _steps(self, node: str | None) -> list[int]:
        """Step daemons of a node: they keep its log file open."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "comm").read_text().strip() == "slurmstepd":
                    logs = {os.readlink(link) for link in (path / "fd").iterdir()}
                    names = [node] if node else self.nodes
                    if any(f"{self.root}/log/slurmd-{name}.log" in logs for name in names):
                        found.append(int(path.name))
        return found

    @staticmethod
    def _kill(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _launch(self, name: str, *command: str) -> None:
        with open(self.root / "log" / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.env,
                start_new_session=True,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # it ends with this process
            )

    def wait(self, ready: Callable[[], object], what: str, seconds: float = HANG_S) -> None:
        """Until `ready` raises no more."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                ready()
                return
            except Exception as error:
                if time.monotonic() > deadline:
                    logs = "\n".join(
                        (p.read_text(errors="replace")[-500:]) for p in (self.root / "log").glob(f"{what}*")
                    )
                    raise RuntimeError(f"{what}: not ready after {seconds} s: {error}\n{logs}") from error
                time.sleep(0.1)

    # ---- a requeued job otherwise waits two minutes before it may start again ----

    @contextlib.contextmanager
    def hurry(self, release: bool = True):
        """While this is open, requeued jobs may start at once; `release`: also those that a node was slow to let go."""
        stop = threading.Event()

        def loop() -> None:
            seen: dict[str, float] = {}
            while not stop.wait(0.5):
                with contextlib.suppress(Exception):
                    lines = self.run("squeue", "-h", "--array", "-o", "%i %T %r").splitlines()
                    for line in lines:
                        if release and "launch failed" in line:
                            self.run("scontrol", "release", line.split()[0], check=False)
                    waiting = [line.split()[0] for line in lines if line.endswith(" PENDING BeginTime")]
                    seen = {job: seen.get(job, time.monotonic()) for job in waiting}
                    for job, since in seen.items():
                        if time.monotonic() > since + 3:  # at once, its node would refuse it: "credential revoked"
                            self.run("scontrol", "update", f"jobid={job}", "starttime=now", check=False)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def set_prolog(self, code: int) -> None:
        """While it is not zero no node can start a job: Slurm drains the node and holds the job."""
        path = self.root / "bin" / "prolog"
        path.with_suffix(".new").write_text(f"#!/bin/sh\nexit {code}\n")
        path.with_suffix(".new").chmod(0o755)
        path.with_suffix(".new").rename(path)

    # ---- configuration ----

    def _wrap(self) -> None:
        """Client commands that find this cluster although their caller wiped SLURM_* from the environment."""
        for name in "srun sbatch scontrol scancel squeue sinfo sacct sacctmgr".split():  # noqa: SIM905
            real = shutil.which(name, path=SBIN)
            path = self.root / "bin" / name
            count = f"echo {name} >> {self.root}/run/calls"
            path.write_text(f'#!/bin/sh\nexport SLURM_CONF={self.conf}\n{count}\nexec {real} "$@"\n')
            path.chmod(0o755)

    def _configure(self) -> None:
        root, user, host = self.root, subprocess.getoutput("id -un"), socket.gethostname().partition(".")[0]
        lines = f"""
            ClusterName=test
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={self.ports["ctld"]}
            SlurmUser={user}
            SlurmdUser={user}
            AuthType=auth/munge
            AuthInfo=socket={root}/run/munge.s
            CredType=cred/munge
            CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
            StateSaveLocation={root}/state
            FirstJobId={int(time.time()) % 6000000 * 10 + 1000}
            MaxJobId=67043328
            SlurmdSpoolDir={root}/spool/%n
            SlurmctldPidFile={root}/run/slurmctld.pid
            SlurmdPidFile={root}/run/slurmd-%n.pid
            SlurmctldLogFile={root}/log/slurmctld.log
            SlurmdLogFile={root}/log/slurmd-%n.log
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/linux
            JobAcctGatherFrequency=task=1
            JobAcctGatherParams=OverMemoryKill
            MpiDefault=none
            SwitchType=switch/none
            SlurmdParameters=config_overrides
            ReturnToService=2
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core_Memory
            GresTypes=gpu,shard
            DefMemPerCPU=200
            MaxArraySize={self.array_size}
            SchedulerType=sched/backfill
            SchedulerParameters=bf_interval=1,bf_min_age_reserve=0,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
            PriorityType=priority/basic
            SlurmctldTimeout=10
            SlurmdTimeout={self.node_timeout}
            InactiveLimit=0
            KillWait=30
            MinJobAge=300
            CompleteWait=0
            MessageTimeout=20
            JobRequeue=1
            PreemptType=preempt/partition_prio
            PreemptMode=REQUEUE
            Prolog={root}/bin/prolog
            """
        if self.user_signal:  # with its warning signal at preemption, else with SIGTERM alone
            lines += "\nSlurmctldParameters=preempt_send_user_signal\n"
        if self.accounting:
            lines += f"""
            AccountingStorageType=accounting_storage/slurmdbd
            AccountingStorageHost=127.0.0.1
            AccountingStoragePort={self.ports["dbd"]}
            AccountingStoragePass={root}/run/munge.s
            AccountingStorageTRES=gres/gpu
            AccountingStorageEnforce=limits,qos
            """
        else:
            lines += "\nAccountingStorageType=accounting_storage/none\n"
        for node in self.nodes:
            lines += (
                f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={self.ports[node]} CPUs={self.cpus} "
                f"Boards=1 SocketsPerBoard=1 CoresPerSocket={self.cpus} ThreadsPerCore=1 RealMemory=64000 "
                f"Gres=gpu:fake:{self.gpus},shard:{4 * self.gpus} State=UNKNOWN\n"
            )
        common = "Nodes=ALL MaxTime=INFINITE DefaultTime=10 State=UP"
        lines += f"PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={self.grace} {common}\n"
        lines += f"PartitionName=abrupt PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 {common}\n"
        lines += f"PartitionName=cancel PriorityTier=1 PreemptMode=CANCEL GraceTime=0 {common}\n"
        lines += f"PartitionName=high PriorityTier=10 PreemptMode=OFF {common}\n"
        lines += "PartitionName=brief Nodes=ALL MaxTime=1 State=UP\n"
        lines += "PartitionName=drained Nodes=ALL MaxTime=INFINITE State=DRAIN\n"
        lines += "PartitionName=shut Nodes=ALL MaxTime=INFINITE State=DOWN\n"
        self.conf.write_text("\n".join(line.strip() for line in lines.splitlines() if line.strip()) + "\n")
        devices = []
        for node in self.nodes:
            folder = root / "dev" / node
            folder.mkdir(exist_ok=True)
            for number in range(self.gpus):  # a GPU must be a character device; a link to one will do
                (folder / f"gpu{number}").symlink_to("/dev/null")
            devices.append(f"NodeName={node} Name=gpu Type=fake File={folder}/gpu[0-{self.gpus - 1}]")
            devices.append(f"NodeName={node} Name=shard Count={4 * self.gpus}")  # quarters of them
        (root / "etc" / "gres.conf").write_text("\n".join(devices) + "\n")

    def _database(self) -> None:
        root, user = self.root, subprocess.getoutput("id -un")
        data = root / "db" / "data"
        self.run(
            *("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", f"--user={user}"),
            *(f"--datadir={data}", "--skip-test-db", "--innodb-use-native-aio=0", f"--tmpdir={root}/db"),
        )
        self._launch(
            *("mariadb", "mariadbd", "--no-defaults", f"--user={user}", f"--datadir={data}"),
            *(f"--socket={root}/run/sql.s", f"--pid-file={root}/db/pid", "--bind-address=127.0.0.1"),
            *(f"--port={self.ports['sql']}", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"),
            *("--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"),
            *("--performance-schema=OFF", "--skip-log-bin", "--max-connections=40", f"--tmpdir={root}/db"),
            "--innodb-use-native-aio=0",  # its memory is counted by user, over all of a machine's
        )
        sql = ("mariadb", "--no-defaults", f"--socket={root}/run/sql.s", "--user=root", "-e")
        self.wait(lambda: self.run(*sql, "select 1"), "mariadb")
        self.run(*sql, "create database slurm_acct")
        self.run(*sql, "create user 'slurm'@'127.0.0.1' identified by 'slurm'")
        self.run(*sql, "grant all on slurm_acct.* to 'slurm'@'127.0.0.1'")
        conf = root / "etc" / "slurmdbd.conf"
        conf.touch(mode=0o600)
        lines = f"""
            AuthType=auth/munge
            AuthInfo=socket={root}/run/munge.s
            CommunicationParameters=NoInAddrAny
            DbdHost={socket.gethostname().partition(".")[0]}
            DbdAddr=127.0.0.1
            DbdPort={self.ports["dbd"]}
            SlurmUser={user}
            PidFile={root}/run/slurmdbd.pid
            LogFile={root}/log/slurmdbd.log
            StorageType=accounting_storage/mysql
            StorageHost=127.0.0.1
            StoragePort={self.ports["sql"]}
            StorageUser=slurm
            StoragePass=slurm
            StorageLoc=slurm_acct
            CommitDelay=1
            """
        conf.write_text("\n".join(line.strip() for line in lines.splitlines() if line.strip()) + "\n")
