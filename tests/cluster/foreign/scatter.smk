# the parts and what gathers them again are one job of the cluster
scattergather:
    parts=3,


TARGETS.append("sum.txt")


rule scatter:
    output:
        scatter.parts("part/{scatteritem}.txt"),
    localrule: True
    shell:
        "for i in 1 2 3; do echo $i > part/$i-of-3.txt; done"


rule square:
    input:
        "part/{scatteritem}.txt",
    output:
        "square/{scatteritem}.txt",
    group:
        "parts"
    shell:
        "echo $(( $(cat {input}) * $(cat {input}) )) > {output}"


rule add:
    input:
        gather.parts("square/{scatteritem}.txt"),
    output:
        "sum.txt",
    group:
        "parts"
    shell:
        "paste -sd+ {input} | tr '\\n' '+' | sed 's/+$/\\n/' > {output}"
