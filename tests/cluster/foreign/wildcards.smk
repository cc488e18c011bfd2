NAMES = ["it's two words,größe", 'x=1;y$2 say "hi"']
TARGETS += expand("copy/{name}.txt", name=NAMES)


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
