# the service lives while the jobs that need it do
rule all:
    input:
        "answer.txt",
    localrule: True


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
