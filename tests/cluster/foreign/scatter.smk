scattergather:
    parts=3,


rule all:
    input:
        "sum.txt",
    localrule: True


rule split:
    output:
        scatter.parts("part/{scatteritem}.txt"),
    localrule: True
    run:
        for number, path in enumerate(output, 1):
            with open(path, "w") as stream:
                print(number, file=stream)


rule square:
    input:
        "part/{scatteritem}.txt",
    output:
        "square/{scatteritem}.txt",
    shell:
        "echo $(( $(cat {input}) * $(cat {input}) )) > {output}"


rule add:
    input:
        gather.parts("square/{scatteritem}.txt"),
    output:
        "sum.txt",
    localrule: True
    shell:
        "paste -sd+ {input} | tr '\\n' '+' | sed 's/+$/\\n/' > {output}"
