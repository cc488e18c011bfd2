# files that lie in a storage: here a folder of this machine, spoken to by the plugin fs
storage:
    provider="fs",


TARGETS.append(storage("stored/last.txt"))


rule first:
    output:
        storage("stored/first.txt"),
    localrule: True
    shell:
        "echo stored > {output}"


rule last:
    input:
        storage("stored/first.txt"),
    output:
        storage("stored/last.txt"),
    shell:
        "tr a-z A-Z < {input} > {output}"
