# which parts there are is known once the checkpoint has run
TARGETS.append("all.txt")


checkpoint split:
    output:
        directory("parts"),
    shell:
        "mkdir {output}; echo part 7 > {output}/7.txt"


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


rule collect:
    input:
        doubled,
    output:
        "all.txt",
    localrule: True
    shell:
        "cat {input} > {output}"
