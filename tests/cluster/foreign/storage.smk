# files that lie in a storage: here a folder of this machine, spoken to by the plugin fs
storage:
    provider="fs",


rule all:
    input:
        storage("stored/upper.txt"),
    localrule: True


rule first:
    output:
        storage("stored/first.txt"),
    shell:
        "echo stored > {output}"


rule upper:
    input:
        storage("stored/first.txt"),
    output:
        storage("stored/upper.txt"),
    shell:
        "tr a-z A-Z < {input} > {output}"
