# run and script blocks, functions of wildcards, lookups, priorities, a folder as output
configfile: "settings.yaml"


wildcard_constraints:
    n=r"\d+",


rule all:
    input:
        expand("cube/{n}.txt", n=config["numbers"]),
        "folder",
    localrule: True


rule cube:
    output:
        "cube/{n}.txt",
    priority: 5
    params:
        number=lambda wildcards: int(wildcards.n),
        power=lookup(dpath="power", within=config),
    run:
        with open(output[0], "w") as stream:
            print(params.number**params.power, file=stream)


rule folder:
    input:
        first=lambda wildcards: f"cube/{config['numbers'][0]}.txt",
    output:
        directory("folder"),
    log:
        "folder.log",
    script:
        "folder.py"
