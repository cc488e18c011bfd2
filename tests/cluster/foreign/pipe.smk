TARGETS.append("upper.txt")


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
