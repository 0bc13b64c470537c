"""What a run has cost, for its model card."""

from minillm.trust.cost.estimate import WATTS_PER_CORE, plan_of_run


def run_cost(run):
    """-> dict: what the training of `run`, a training.run.Run, has cost so far

        parameters             of the model
        steps, tokens, flops   done; products of matrices and attention, padding included
        seconds                None for a run of an earlier minillm, which didn't record them
        joules                 None likewise
        energy_is              "measured" (RAPL: the whole machine), "estimated", or None
        hardware               the processors and numbers of threads that it was trained on

    Steps that were lost, as they came after the last checkpoint, have cost time as well, and are in
    `seconds`, but not in `steps`. Raises OSError and ValueError if the run's data is gone.
    """
    plan = plan_of_run(run)
    steps = max((session["steps"][1] for session in run.sessions), default=run.settings.steps)
    seconds = sum(session["seconds"] for session in run.sessions) if run.sessions else None
    joules, kind = _energy(run.sessions)
    hardware = sorted({f"{session['processor']}, threads: {session['threads']}"
                       for session in run.sessions})
    return {"parameters": plan.cost.parameters, "steps": steps,
            "tokens": round(plan.tokens * steps), "flops": plan.flops * steps, "seconds": seconds, "joules": joules, "energy_is": kind,
            "hardware": "; ".join(hardware)}


def _energy(sessions):
    """-> joules, and whether they were all measured; where one wasn't, all are estimated"""
    if not sessions:
        return None, None
    if all(session["joules"] is not None for session in sessions):
        return sum(session["joules"] for session in sessions), "measured"
    return sum(WATTS_PER_CORE * session["threads"] * session["seconds"]
               for session in sessions), "estimated"
