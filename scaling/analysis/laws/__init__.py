"""The laws, one per file; an entry is a name and the instance. `scaling laws` prints them."""

from scaling.registry import Registry

LAWS = Registry(
    "law",
    {
        "power": "scaling.analysis.laws.power:POWER",
        "power_offset": "scaling.analysis.laws.power_offset:POWER_OFFSET",
        "speedup": "scaling.analysis.laws.speedup:SPEEDUP",
        "kaplan_n": "scaling.analysis.laws.power:KAPLAN_N",
        "kaplan_d": "scaling.analysis.laws.power:KAPLAN_D",
        "kaplan_c": "scaling.analysis.laws.power:KAPLAN_C",
        "kaplan": "scaling.analysis.laws.kaplan:KAPLAN",
        "kaplan_steps": "scaling.analysis.laws.kaplan_steps:KAPLAN_STEPS",
        "chinchilla": "scaling.analysis.laws.chinchilla:CHINCHILLA",
        "chinchilla_tied": "scaling.analysis.laws.chinchilla_tied:CHINCHILLA_TIED",
        "chinchilla_gamma": "scaling.analysis.laws.chinchilla_gamma:CHINCHILLA_GAMMA",
        "multiplicative": "scaling.analysis.laws.multiplicative:MULTIPLICATIVE",
        "optimum": "scaling.analysis.laws.optimum:OPTIMUM",
        "envelope": "scaling.analysis.laws.optimum:ENVELOPE",
        "envelope_hull": "scaling.analysis.laws.optimum:ENVELOPE_HULL",
        "isoflop": "scaling.analysis.laws.optimum:ISOFLOP",
        "isoflop_akima": "scaling.analysis.laws.optimum:ISOFLOP_AKIMA",
        "width_depth": "scaling.analysis.laws.width_depth:WIDTH_DEPTH",
        "data_constrained": "scaling.analysis.laws.data_constrained:DATA_CONSTRAINED",
        "gadre": "scaling.analysis.laws.gadre:GADRE",
        "gadre_error": "scaling.analysis.laws.gadre_error:GADRE_ERROR",
        "sigmoid": "scaling.analysis.laws.sigmoid:SIGMOID",
        "broken_0": "scaling.analysis.laws.broken:BROKEN_0",
        "broken_1": "scaling.analysis.laws.broken:BROKEN_1",
        "broken_2": "scaling.analysis.laws.broken:BROKEN_2",
        "broken_3": "scaling.analysis.laws.broken:BROKEN_3",
        "routed": "scaling.analysis.laws.routed:ROUTED",
        "multi_power": "scaling.analysis.laws.multi_power:MULTI_POWER",
    },
)
