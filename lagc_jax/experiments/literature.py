"""What the papers of the schemes claim, and whether it holds in a survey of them."""

from typing import NamedTuple

import pandas as pd

from lagc_jax.experiments.claims import claims_table, count, decide


class Claim(NamedTuple):
    """A paper's claim as a comparison of two schemes in one column of `survey.table_frame`.

    Attributes:
        paper: short name and year.
        text: the claim.
        scheme: that should have less (more, if the column is `final`).
        than: that it is compared with.
        column: what is compared.
        factor: of the other's value that the scheme should stay below, or the accuracy by which it
            may fall short in `final`.
        minibatches: whether it is about minibatches only.
        ties: whether as much as the other is enough.
    """

    paper: str
    text: str
    scheme: str
    than: str
    column: str
    factor: float = 1.0
    minibatches: bool = False
    ties: bool = False


CLAIMS = (
    Claim("Tandon et al. 2017", "coding beats waiting for all in time", "GC", "GD", "time"),
    Claim(
        "Tandon et al. 2017",
        "the first decodable set comes no later than the (M-r+1)-th message",
        "first decodable",
        "GC",
        "time",
        ties=True,
    ),
    Claim("Chen et al. 2016", "dropping stragglers saves time", "fastest-k", "GD", "time"),
    Claim(
        "Bitar et al. 2020",
        "stochastic coding comes close to the accuracy of all gradients",
        "stochastic GC",
        "GD",
        "final",
        0.02,
    ),
    Claim(
        "Raviv et al. 2018",
        "least squares comes close to the accuracy of all gradients",
        "approximate GC",
        "GD",
        "final",
        0.02,
    ),
    Claim(
        "Wang et al. 2019",
        "ErasureHead beats an exact code in time",
        "ErasureHead",
        "GC",
        "time",
    ),
    Claim(
        "Wang et al. 2019",
        "ErasureHead comes close to the accuracy of all gradients",
        "ErasureHead",
        "GD",
        "final",
        0.02,
    ),
    Claim("Chen et al. 2018", "LAG-WK saves uploads", "LAG-WK", "GD", "bits"),
    Claim("Chen et al. 2018", "LAG-PS saves communication", "LAG-PS", "GD", "communication"),
    Claim("Zhang, Simeone 2021", "G-LAG beats GC in time", "G-LAG", "GC", "time"),
    Claim(
        "Zhang, Simeone 2021",
        "G-LAG beats LAG in communication",
        "G-LAG",
        "LAG-PS",
        "communication",
    ),
    Claim("Sun et al. 2019", "LAQ saves bits over LAG", "LAQ", "LAG-WK", "bits"),
    Claim("Alistarh et al. 2017", "QSGD saves bits over descent", "QSGD", "GD", "bits"),
    Claim("Richtarik et al. 2022", "CLAG saves bits over EF21", "CLAG", "EF21", "bits"),
    Claim("Richtarik et al. 2022", "CLAG saves bits over LAG", "CLAG", "LAG-WK", "bits"),
    Claim("McMahan et al. 2017", "local steps save messages", "FedAvg", "GD", "communication"),
    Claim(
        "Ye, Abbe 2018",
        "shorter messages for more load: fewer bits than an exact code",
        "short GC",
        "GC",
        "bits",
    ),
    Claim(
        "Chen, Sun, Yin 2020",
        "LASG saves uploads over LAG where samples are random",
        "LASG-WK2",
        "LAG-WK",
        "bits",
        minibatches=True,
    ),
    Claim(
        "Chen et al. 2021",
        "CADA saves at least 60 % of Adam's uploads",
        "CADA2",
        "AMSGrad",
        "bits",
        0.4,
    ),
    Claim("Chen et al. 2021", "CADA is as accurate as Adam", "CADA2", "AMSGrad", "final", 0.02),
    Claim("Zhu et al. 2022", "G-CADA beats CADA in time", "G-CADA", "CADA2", "time"),
    Claim("Zhu et al. 2022", "G-CADA beats CADA in bits", "G-CADA", "CADA2", "bits"),
    Claim(
        "Kas Hanna et al. 2020",
        "waiting for more as progress stalls beats a fixed number in time",
        "adaptive k",
        "fastest-k",
        "time",
    ),
    Claim(
        "Buyukates et al. 2020",
        "clusters dealt anew beat one code in time",
        "dynamic clusters",
        "GC",
        "time",
    ),
    Claim(
        "Ozfatura et al. 2020",
        "sending every gradient as it is done beats one coded message in time",
        "cyclic schedule",
        "GC",
        "time",
    ),
    Claim(
        "Krishnan et al. 2023",
        "coding over rounds beats codes in a round",
        "M-SGC",
        "GC in rounds",
        "time",
    ),
    Claim(
        "Glasgow, Wootters 2021",
        "regular graphs come close to the accuracy of all gradients",
        "regular graph GC",
        "GD",
        "final",
        0.02,
    ),
    Claim("Mishchenko et al. 2019", "DIANA saves bits over descent", "DIANA", "GD", "bits"),
    Claim("Gorbunov et al. 2021", "MARINA saves bits over DIANA", "MARINA", "DIANA", "bits"),
    Claim("Dutta et al. 2018", "asynchrony beats waiting for all in time", "ASGD", "GD", "time"),
    Claim("Dutta et al. 2018", "K-async is no slower than K-sync", "K-async", "K-sync", "time"),
    Claim(
        "Mishchenko et al. 2022",
        "steps that fit the delays beat a constant one",
        "delay-adaptive ASGD",
        "ASGD",
        "time",
    ),
    Claim(
        "Ferdinand et al. 2019",
        "what is done in a fixed time beats a fixed amount in time",
        "anytime minibatch",
        "GD",
        "time",
    ),
    Claim("Tyurin, Richtarik 2023", "Rennala beats waiting for all", "Rennala", "GD", "time"),
    Claim("Maranjyan et al. 2025", "Ringmaster beats ASGD", "Ringmaster", "ASGD", "time"),
)


def claims_frame(table: pd.DataFrame, minibatches: bool) -> pd.DataFrame:
    """Check the claims on a table of `survey.table_frame`: a row a claim and law of the times.

    Args:
        table: of one task.
        minibatches: whether it has minibatches; claims about them alone are left out otherwise, and
            so are those about schemes that the table has not.

    Columns: the claim, the two values compared, and whether it holds in this run: no claim on the
    way to an accuracy holds for a scheme that misses it, and it is undecided where both do.
    """
    rows = []
    for law, block in table.groupby("delays", sort=False):
        values = block.set_index("scheme")
        for claim in CLAIMS:
            known = {claim.scheme, claim.than} <= set(values.index)
            if not known or (claim.minibatches and not minibatches):
                continue
            mine = float(values.loc[claim.scheme, claim.column])  # type: ignore[arg-type]
            other = float(values.loc[claim.than, claim.column])  # type: ignore[arg-type]
            bound = other - claim.factor if claim.column == "final" else claim.factor * other
            holds = mine >= bound if claim.column == "final" else mine < bound
            holds |= claim.ties and mine == bound
            rows.append(
                {
                    "paper": claim.paper,
                    "claim": claim.text,
                    "delays": law,
                    "compared": claim.column,
                    "scheme": claim.scheme,
                    "value": mine,
                    "than": claim.than,
                    "other value": other,
                    "holds": decide(holds, mine, other),
                }
            )
    return claims_table(rows)


def summarise_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """A row a claim: in how many tasks and laws it holds, and the range of what was compared.

    That is the scheme's cost over the other's, or its accuracy less the other's.
    """
    rows = []
    for (paper, claim), group in claims.groupby(["paper", "claim"], sort=False):
        column, scheme, than = group.iloc[0][["compared", "scheme", "than"]]
        mine, other = group["value"], group["other value"]
        word, compared = ("less", mine - other) if column == "final" else ("over", mine / other)
        rows.append(
            {
                "paper": paper,
                "claim": claim,
                "compared": f"{column} of {scheme} {word} {than}",
                "from": compared.min(),
                "to": compared.max(),
                "holds in": count(group["holds"]),
            }
        )
    return pd.DataFrame(rows)
