# the service lives while the jobs that need it do
TARGETS.append("answer.txt")


rule serve:
    output:
        service("ready.txt"),
    shell:
        "echo 42 > {output}; while true; do sleep 1; done"


rule ask:
    input:
        "ready.txt",
    output:
        "answer.txt",
    shell:
        "cat {input} > {output}"
