"""The schema that the tests of schemas share."""

from streams.control.schemas import FeatureSchema, build_schema

PETS = build_schema(
    "pets",
    "2",
    [
        FeatureSchema(name="age", type="float32"),
        FeatureSchema(name="breed", kind="categorical", type="any"),
        FeatureSchema(name="picture", kind="embedding", type="vector", size=512, optional=True),
        FeatureSchema(name="weight"),
    ],
    task="multiclass",
    classes=["cat", "dog", "owl"],
    segments=["region"],
)
