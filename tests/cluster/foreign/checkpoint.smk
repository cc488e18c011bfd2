# how many parts there are is known once the checkpoint has run
rule all:
    input:
        "all.txt",


checkpoint split:
    output:
        directory("parts"),
    shell:
        "mkdir {output}; for i in 1 2; do echo part $i > {output}/$i.txt; done"


rule double:
    input:
        "parts/{i}.txt",
    output:
        "double/{i}.txt",
    shell:
        "cat {input} {input} > {output}"


def doubled(wildcards):
    folder = checkpoints.split.get().output[0]
    return expand("double/{i}.txt", i=sorted(glob_wildcards(f"{folder}/{{i}}.txt").i))


rule gather:
    input:
        doubled,
    output:
        "all.txt",
    localrule: True
    shell:
        "cat {input} > {output}"
