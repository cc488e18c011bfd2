# a chain that is one job of the cluster, with a file between its rules that is gone afterwards
wildcard_constraints:
    sample=r"\w+",


rule letters:
    output:
        temp("{sample}.letters"),
    group:
        "chain"
    threads: 2
    shell:
        "for i in 1 2 3; do echo {wildcards.sample}; done > {output}"


rule count:
    input:
        "{sample}.letters",
    output:
        "{sample}.count",
    group:
        "chain"
    resources:
        runtime="5m",
    shell:
        "wc -l < {input} > {output}"
