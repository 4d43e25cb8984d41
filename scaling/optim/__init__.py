"""Optimisers, schedules and what they share. Enter through `build` and `schedules`.

An optimiser is a frozen dataclass of options with two methods, and one line in
`scaling.config.OPTIMIZERS`:

    build(infos) -> optax.GradientTransformation   the direction: no learning rate, no decay; one
                                                   with extra arguments is told the rate as `lr`
    step_kind(info) -> str                         how large its step is (scaling.models.mup)
"""
