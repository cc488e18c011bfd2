# not used without --software-deployment-method
container: "docker://no.such.registry/image:1"


rule all:
    input:
        "plain.txt",
    localrule: True


rule many:
    output:
        [f"many/file {i}.txt" for i in range(25)],
    localrule: True
    shell:
        "touch {output:q}"


rule plain:
    input:
        rules.many.output,
    output:
        "plain.txt",
    shell:
        "ls many | wc -l > {output}"
