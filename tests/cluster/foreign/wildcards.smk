NAMES = ["two words", "a,b", "it's", 'say "hi"', "größe", "x=1;y$2"]


rule all:
    input:
        expand("copy/{name}.txt", name=NAMES),
    localrule: True


rule original:
    output:
        temp("original/{name}.txt"),
    localrule: True
    shell:
        "echo {wildcards.name:q} > {output:q}"


rule copy:
    input:
        "original/{name}.txt",
    output:
        "copy/{name}.txt",
    params:
        name="{name}",
    shell:
        "echo {params.name:q} | cat {input:q} - > {output:q}"
