"""What an analysis of an ability found, in words: verdicts and the table for people."""

VERDICTS = {
    "none": "never significantly above chance",
    "smooth": "above chance, and a smooth law explains the rise: {law}",
    "steep": "above chance, and too steep for these scales: a jump within one step explains the "
    "rise as well as a smooth law, {law}",
    "mirage": "the gain of the metric picks up, that of the continuous one does not, and it "
    "predicts the metric",
    "break": "no smooth law explains the metric or its continuous counterpart: {tested}",
    "bends": "no smooth law explains the metric: {tested}; without a continuous metric an artefact "
    "cannot be told apart",
    "undecided": "no smooth law explains the metric: {tested}; one explains the continuous metric, "
    "which is not shown to predict the other",
    "untested": "too few scales, no items counted or no chance level: no test of a break",
}


def explain_verdict(verdict: str, tested) -> str:
    """The sentence of a verdict; `tested`: the `Break` of the metric, or None."""
    text = VERDICTS[verdict]
    if tested is None:
        return text
    return text.format(law=law(tested), tested=_tested(tested))


def law(b) -> str:
    """The smooth family that suffices, with the width of the rise where it has ends."""
    if b.suffices is None:
        return "none"
    one = next(f for f in b.families if f.name == b.suffices)
    return f"{one.name}, {rise(b)}" if one.has_width else one.name


def rise(b) -> str:
    """The width of the rise with its interval."""
    low, high = b.width_ci95
    low = "a jump" if low is None else f"{low:.2g}"
    high = "no end" if high is None else f"{high:.2g}"
    return f"10 to 90 % over {b.width:.2g} decades, 95 % [{low}, {high}]"


def _tested(b) -> str:
    return (
        f"of {len(b.families)} families whose 10 to 90 % take {b.smooth_width:g} decades or more "
        f"each is rejected at 5 %"
    )


def span(ends) -> str:
    """The two ends of an interval; None is unbounded."""
    if ends is None:
        return ""
    low, high = ("" if e is None else f"{e:.4g}" for e in ends)
    return f"[{low or '< smallest'}, {high or 'unbounded'}]"


def describe(found) -> str:
    """An `Emergence` as a table for people."""
    lines = [
        f"{found.title}: {found.metric} against {found.x}   {found.n_runs} runs, "
        f"{len(found.levels)} scales",
        f"verdict {found.verdict}: {found.explanation}",
        "",
        f"{found.x:>12}{'mean':>10}{'runs':>6}{'items':>9}   95 % interval        above chance",
    ]
    for level in found.levels:
        items = "" if level.n_items is None else f"{level.n_items:.0f}"
        above = "" if level.above is None else ("yes" if level.above else "no")
        lines.append(
            f"{level.x:>12.4g}{level.mean:>10.4g}{level.n_runs:>6}{items:>9}   "
            f"{span(level.ci):<21}{above}"
        )
    lines.append("")
    if found.onset:
        o = found.onset
        lines.append(f"onset {o.x:.4g}   95 % {span((o.low, o.high))}   above {o.reference:.4g}")
    for name, score in found.scores.items():
        lines.append(f"{name} {score.value:.3g}   95 % {span(score.ci95)}")
    for b in found.breaks.values():
        lines += _families(b)
    if found.mirage:
        m = found.mirage
        lines.append(f"predicted by {m.source}: R² {m.r2:.3f}, largest gap {m.largest_gap:.3f}")
    if found.loss_threshold:
        t = found.loss_threshold
        lines.append(f"loss threshold {t.threshold:.4g}   95 % {span(t.ci95)}")
    return "\n".join([*lines, *(f"warning: {w}" for w in found.warnings)])


def _families(b) -> list[str]:
    """The test of one metric: every smooth family, the best change, and the width of the rise."""
    lines = [
        f"{b.metric}: smooth laws (10 to 90 % over {b.smooth_width:g} decades or more) against a "
        f"change within a step",
        f"  {'law':<19}{'':<20}{'AICc':>9}{'p':>9}",
    ]
    for f in b.families:
        mark = "  suffices" if f.name == b.suffices else ("  rejected" if f.rejected else "")
        lines.append(f"  {f.name:<19}{f.formula:<20}{_aicc(f.aicc):>9}{f.p_value:>9.3g}{mark}")
    lines.append(f"  {b.change:<39}{_aicc(b.change_aicc):>9}{'':>9}  at {b.place:.3g}")
    verdict = "bends: no smooth law suffices" if b.bends else f"{b.suffices} suffices"
    lines.append(f"  {verdict}; best sigmoid: {rise(b)}")
    return lines


def _aicc(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
