# What leans most on the standard library and needs no torch: archives, csv, json, sockets, processes, locks, temporary files.
TESTS="tests/download tests/datasets tests/manifest tests/frames tests/cluster tests/test_config.py tests/test_fork_server.py"
