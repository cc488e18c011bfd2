rule all:
    input:
        "upper.txt",
    localrule: True


rule lines:
    output:
        pipe("lines.pipe"),
    shell:
        "for i in 1 2 3; do echo line $i; done > {output}"


rule upper:
    input:
        "lines.pipe",
    output:
        "upper.txt",
    shell:
        "tr a-z A-Z < {input} > {output}"
