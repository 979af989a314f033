"""The shop that fills the demo's database, as one SQL script."""

from importlib import resources

# Row counts at scale 1: about 100,000 in all (every order has two items).
_ROWS = {"customers": 20_000, "products": 500, "orders": 25_000, "staff": 200, "audit_rows": 4_500}


def shop_sql(scale: float = 1.0) -> str:
    """The script that makes schema `shop` and fills it, with `scale` times its rows (at least
    one row in each table). The same script gives the same rows on every PostgreSQL."""
    text = resources.files("taskgate.demo").joinpath("shop.sql").read_text("utf-8")
    for name, count in _ROWS.items():
        text = text.replace("{" + name + "}", str(max(1, round(count * scale))))
    return text
