# run and script blocks, functions of wildcards, lookups, priorities, a folder as output
configfile: "settings.yaml"


TARGETS.append("folder")


rule cube:
    output:
        "cube/{n}.txt",
    wildcard_constraints:
        n=r"\d+",
    priority: 5
    params:
        number=lambda wildcards: int(wildcards.n),
        power=lookup(dpath="power", within=config),
    run:
        with open(output[0], "w") as stream:
            print(params.number**params.power, file=stream)


rule folder:
    input:
        first=lambda wildcards: f"cube/{config['number']}.txt",
    output:
        directory("folder"),
    log:
        "folder.log",
    script:
        "folder.py"
