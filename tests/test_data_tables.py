"""CSV files and the like: rows, columns and cells, and what is said of bad ones."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from data_helpers import load, refuses

from reluopt.data import remarks
from reluopt.errors import ConfigError


@pytest.fixture
def csv_file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "houses.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


GOOD = "rooms,price,age\n3,200,10\n4,300,20\n5,350,5\n2,150,30\n"


def test_csv_takes_the_target_by_name(csv_file):
    data = load(csv_file(GOOD), target="price", scaling="none", bias=False, standardise_target=False)
    np.testing.assert_array_equal(data.X, [[3, 10], [4, 20], [5, 5], [2, 30]])
    np.testing.assert_array_equal(data.y, [200, 300, 350, 150])
    assert data.feature_names == ("rooms", "age") and data.name == "houses"


def test_csv_is_standardised_as_a_rule(csv_file):
    data = load(csv_file(GOOD), target="price")
    assert data.d == 3 and data.has_bias_column
    assert data.y.mean() == pytest.approx(0, abs=1e-12) and data.y.std() == pytest.approx(1)
    assert data.preprocessing["target_mean"] == 250


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe"), (",", "comma")])
def test_csv_delimiters_are_found_or_named(csv_file, sign, name):
    plain = load(csv_file(GOOD), target="price")
    path = csv_file(GOOD.replace(",", sign))
    assert load(path, target="price").fingerprint == plain.fingerprint
    assert load(path, target="price", delimiter=name).fingerprint == plain.fingerprint


def test_csv_reads_quotes_blank_lines_a_byte_order_mark_and_windows_line_ends(csv_file):
    text = '"rooms, all","price",age\n"3",200,10\n\n4,300,20\n5,"350",5\n2,150,30\n\n'
    data = load(csv_file(text.replace("\n", "\r\n"), "utf-8-sig"), target="price")
    assert data.feature_names[:2] == ("rooms, all", "age")
    assert data.fingerprint == load(csv_file(GOOD), target="price").fingerprint


def test_csv_text_labels_become_two_classes(csv_file):
    data = load(csv_file("a,kind\n1,yes\n2,no\n3,yes\n"), target="kind")
    np.testing.assert_array_equal(data.y, [1, -1, 1])
    assert data.preprocessing["labels"] == {"-1": "no", "+1": "yes"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("4,300,20", "4,300,old"), ["houses.csv", "line 3", "'age'", "'old' is not a number"]),
        (GOOD.replace("4,300,20", "\n4,300,old"), ["line 4"]),  # a blank line counts, as in an editor
        (GOOD.replace("4,300,20", "\n4,300,nan"), ["line 4", "'age'", "missing ('nan')"]),
        (GOOD.replace("4,300,20", "4,300,"), ["line 3", "'age'", "empty"]),
        (
            GOOD.replace("4,300,20", ",300,"),
            ["line 3", "'rooms'", "empty", "2 cells are missing, in 1 lines and 2 columns"],
        ),
        (GOOD.replace("4,300,20", "4,cheap,20"), ["line 3", "'price'", "'cheap' is not a number"]),
        (GOOD.replace("4,300,20", "4,,20"), ["line 3", "'price'", "empty"]),
        (GOOD.replace("4,300,20", "nan,300,20"), ["houses.csv", "line 3", "'rooms'", "missing"]),
        (GOOD.replace("4,300,20", "4,300,inf"), ["line 3", "'age'", "infinite"]),
        (GOOD.replace("4,300,20", "4,nan,20"), ["line 3", "target", "missing"]),
        (GOOD.replace("4,300,20", "4,300,1e200"), ["line 3", "'age'", "1e+200", "overflow"]),
        (GOOD.replace("4,300,20", "4,300"), ["line 3", "2 cells", "3"]),
        (GOOD.replace("price", "age"), ["'age'", "more than once"]),
        (GOOD.replace("price", "cost"), ["houses.csv", "no column 'price'", "rooms, cost, age"]),
        (
            GOOD.removeprefix("rooms,price,age\n"),
            ["no column 'price'", "first line holds values", "--header", "x1, x2, x3"],
        ),
        ("rooms,price,age\n", ["houses.csv", "empty"]),
        ("", ["houses.csv", "empty"]),
        ("rooms,price,age\n3,200,10\n", ["houses.csv", "one sample"]),
        ("price\n3\n4\n", ["no features"]),
        ("a,price\n1,7\n2,7\n3,7\n", ["houses.csv", "constant", "y = 7"]),
        ("a,price\n5,1\n5,2\n5,3\n", ["every feature is constant"]),
        ('a,price\n"5,1\n5,2\n5,3\n', ["houses.csv", "not a proper CSV"]),
    ],
)
def test_csv_bad_input_is_named(csv_file, text, words):
    refuses(lambda: load(csv_file(text), target="price"), *words)


def test_csv_other_bad_input(csv_file, tmp_path):
    refuses(lambda: load(csv_file(GOOD)), "no target column", "rooms, price, age", "--target")
    refuses(lambda: load(tmp_path / "none.csv", target="y"), "none.csv", "does not exist")
    refuses(lambda: load(csv_file("a,k\n1,x\n2,y\n3,z\n"), target="k"), "3 different values", "x, y, z", "--positive")
    refuses(
        lambda: load(csv_file("a,k\n1,1\n2,2\n3,3\n"), target="k", task="classification"), "3 different", "--positive"
    )
    refuses(lambda: load(csv_file("a,k\n1,x\n2,y\n"), target="k", task="regression"), "line 2", "'x' is not a number")


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "data.xls"
    path.write_text("?")
    refuses(lambda: load(path), "data.xls", "no known kind")


# -- the first line ------------------------------------------------------------------------------------------------

IRIS = "5.1,3.5,setosa\n4.9,3.0,virginica\n6.1,3.1,setosa\n6.3,2.9,virginica\n"
AS_IT_IS = {"scaling": "none", "bias": False, "standardise_target": False}


def test_a_first_line_of_values_is_the_first_sample(csv_file):
    for settings in ({}, {"header": False}):
        data = load(csv_file(IRIS), target="last", **AS_IT_IS, **settings)
        np.testing.assert_array_equal(data.X, [[5.1, 3.5], [4.9, 3.0], [6.1, 3.1], [6.3, 2.9]])
        assert data.feature_names == ("x1", "x2") and list(data.y) == [-1, 1, -1, 1]
    assert any("first line" in remark for remark in remarks(load(csv_file(IRIS), target="last")))


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6\n7,8,10\n",
        "a,2,3\nb,5,6\na,8,10\nb,1,2\n",
        "0,5;1,5;2\n1,5;2,5;1\n3,5;1,5;4\n",
        "p,x,y\np,s,n\ne,x,y\ne,s,n\n",  # letters only, each of which occurs again below
        "?,x,1\na,x,2\nb,y,3\na,y,4\n",
        "alice,red,yes\nbob,blue,no\ncarol,red,yes\ndan,blue,no\neve,red,no\nfay,blue,yes\n",  # most words recur
        "1,5 2,5\n1,5 1,25\n2,5 2,25\n",  # spaces between decimal commas
        "#a,1,2.5\n#a,2,3.5\nb,3,4.5\nb,1,2\n",
    ],
)
def test_no_sample_is_lost_to_a_header_that_is_none(csv_file, text):
    data = load(csv_file(text), target="last", missing="mean", task="auto")
    assert data.n == len(text.splitlines())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("RI,Na,Mg\n1.5,7,3\n2.5,8,4\n4.5,9,1\n", "RI,Na"),  # sodium
        ("NA,nan,null\n1.5,7,3\n2.5,8,4\n4.5,9,1\n", "NA,nan"),
        ("NA,NA,y\n1.5,7,3\n2.5,8,4\n4.5,5,1\n", "column 1,column 2"),  # of columns without a name
        ("year,inf,unemp\n1.5,7,3\n2.5,8,4\n4.5,9,1\n", "year,inf"),
        ("cap,edible,size\nx,edible,u\ny,poison,v\nx,edible,v\ny,poison,u\n", "cap,edible"),  # one word recurs
        ("#name,colour,label\nn,red,u\nx,blue,v\nn,red,u\nx,blue,v\n", "name,colour"),
        ("# a b y\n-1 .5 3\n-2 .25 4\n-1 .75 2\n", "a,b"),
        ("# of, a, test\na,b,y\n1,2,3\n3,5,4\n5,6,9\n", "a,b"),
        ('x, "a, b", y\n1, "2", 3\n2, "3", 4\n4, "1", 9\n', "x,a, b"),  # a space before a quote
        *[(f"a{sign}b,x,y\n1,2,3\n3,5,4\n5,6,9\n", f"a{sign}b,x") for sign in "\v\f\x1c\x85\u2028"],
    ],
)
def test_a_header_keeps_its_names(csv_file, text, names):
    rules = load(csv_file(text), target="last", missing="mean").preparation.columns()
    assert ",".join(rule.name for rule in rules[:2]) == names
    found = load(csv_file(text), target=names.split(",")[0])
    assert found.n == len(text.replace("# of, a, test\n", "").split("\n")) - 2


def test_rows_that_begin_with_a_hash_are_comments_or_samples(csv_file):
    """A table of tags: with as many cells as the others, no comment; where it is not known, it is asked."""
    rows = [f"{tag},{i}.5,{i * i % 7}" for i, tag in enumerate(["#a", "b", "#a", "#c", "b", "#a"])]
    data = load(csv_file("tag,x,y\n" + "\n".join(rows)), target="y", **AS_IT_IS)
    assert data.n == 6 and data.feature_names[:3] == ("tag=#a", "tag=#c", "tag=b")
    assert load(csv_file("tag,x,y\n" + "\n".join(f"#{i},{i}.5,{i * i % 7}" for i in range(6))), target="y").n == 6
    text = "tag,x,y\na,1,2.5\n#b,2,3.5\nb,3,4.5\nb,1,2\n"
    refuses(lambda: load(csv_file(text), target="y"), "line 3", "a comment, or a sample?", "'# …'", "'\"#b\"'")
    assert load(csv_file(text.replace("#b", "# b")), target="y").n == 3
    assert load(csv_file(text.replace("#b", '"#b"')), target="y").n == 4
    numbers = "t,x,y\n5,1,2.5\n#4,2,3.5\n7,3,4.5\n8,1,2\n"  # taken out of a table of numbers
    assert load(csv_file(numbers), target="y").n == 3
    refuses(lambda: load(csv_file("#a,1,2\n#b,3,4\n"), target="last"), "every line begins with #", "Quote")
    assert load(csv_file('"#a",1,2\n"#b",3,4\n'), target="last", drop="1").n == 2
    years = "# 2019 2020\n1 2.5\n3 4\n5 6\n"
    assert load(csv_file(years), target="last", **AS_IT_IS).feature_names == ("x1",)
    assert load(csv_file(years), target="last", header=True, **AS_IT_IS).feature_names == ("2019",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", ["is empty", "no samples"]),
        ("a::b\n1::2\n3::4\n", ["has one column only, 'a::b'", "commas, semicolons, tabs"]),
        ("a^b\n1^2\n3^4\n", ["has one column only"]),
        ("<html><body>404 not found</body></html>\n", ["HTML"]),
        ("\n<!DOCTYPE html>\n<p>a,b</p>\n", ["HTML"]),
    ],
)
def test_what_is_no_table_is_told_why(csv_file, text, words):
    refuses(lambda: load(csv_file(text), target="last"), "houses.csv", *words)


def test_a_header_of_years_is_one_when_told(csv_file):
    text = "2019,2020,2021\n1,2,3\n2,5,6\n7,8,10\n"
    refuses(lambda: load(csv_file(text), target="2021"), "no column '2021'", "first line", "--header")
    assert load(csv_file(text), target="2021", header=True).n == 3


@pytest.mark.parametrize("which", ["price", "2", "first", "last"])
def test_the_target_is_found_by_name_and_place(csv_file, which):
    names = {"price": "price", "2": "price", "first": "rooms", "last": "age"}
    same = load(csv_file(GOOD), target=names[which])
    assert load(csv_file(GOOD), target=which).fingerprint == same.fingerprint


def test_a_name_that_looks_like_a_place_is_a_name(csv_file):
    data = load(csv_file("a,b,1\n5,2,3\n6,3,5\n8,5,4\n"), target="1", header=True)
    assert data.feature_names[:2] == ("a", "b")


def test_a_missing_target_lists_ten_near_names_at_most(csv_file):
    names = [f"price_{i:05d}" for i in range(4000)]
    text = ",".join(names) + "\n" + "\n".join(",".join(str(i * j % 7) for i in range(4000)) for j in range(3))
    error = refuses(lambda: load(csv_file(text), target="price_00x17"), "price_00x17", "3,990 more")
    assert len(str(error)) < 500
    error = refuses(lambda: load(csv_file(text)), "no target column", "price_00000", "3,990 more")
    assert len(str(error)) < 500


# -- lines, quotes, encodings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(csv_file, encoding, end):
    text = GOOD.replace("rooms", "größe")
    data = load(csv_file(text.replace("\n", end), encoding), target="price")
    assert data.feature_names[0] == "größe"
    assert data.fingerprint == load(csv_file(GOOD), target="price").fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "\n\n" + GOOD,
        "  \n" + GOOD,
        "sep=;\n" + GOOD.replace(",", ";"),
        '"sep=;"\n' + GOOD.replace(",", ";"),
        "# from a sensor\n# twice\n" + GOOD,
        "\n# from a spreadsheet\n\nsep=;\n\n" + GOOD.replace(",", ";"),
        GOOD.replace("4,300", "# a remark, with, commas\n4,300"),
        "# " + GOOD,  # a header written as a comment, as numpy does
        GOOD.replace(",", ", "),
        GOOD.replace(",", "  , "),
        GOOD.replace(",", "   "),
        " " + GOOD.replace(",", "   ").replace("\n", "\n "),
        GOOD.replace("\n", ",\n"),  # every line ends with a delimiter
        GOOD.replace("\n", ",\n").replace("age,", "age"),
        GOOD + "\x1a",
    ],
)
def test_what_stands_around_the_table_does_not_matter(csv_file, text):
    assert load(csv_file(text), target="price").fingerprint == load(csv_file(GOOD), target="price").fingerprint


def test_quoted_line_breaks_and_quotes_count_as_an_editor_does(csv_file):
    text = 'rooms,"price\nin €",remark\n3,200,"first\nand second"\n4,300,"said ""no"""\n3,250,"said ""no"""\n5,x,c\n'
    refuses(lambda: load(csv_file(text), target="last"), "line 7", "'x' is not a number")
    data = load(csv_file(text.replace("5,x,c", '5,350,"first\nand second"')), target="last")
    assert data.preparation.target.labels == {"-1": "first\nand second", "+1": 'said "no"'}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".data", ".dat", ".tab", ".CSV", ".csv.gz", ".txt.gz"])
def test_every_ending_of_a_text_table(tmp_path, ending):
    path = tmp_path / f"houses.v2{ending}"
    text = GOOD.replace(",", "\t").encode()
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    data = load(path, target="price")
    assert data.n == 4 and data.name == "houses.v2"


@pytest.mark.parametrize("ending", [".parquet", ".pq", ".feather", ".arrow"])
def test_parquet_and_feather(tmp_path, ending):
    write = pyarrow.parquet.write_table if ending in (".parquet", ".pq") else pyarrow.feather.write_feather
    columns = {"rooms": [3, 4, 5, 2], "price": [200.0, 300, 350, 150], "kind": ["a", "b", "a", "b"]}
    columns = {name: pa.array(values) for name, values in columns.items()}
    columns |= {"kind": columns["kind"].dictionary_encode(), "new": pa.array([True, False, True, True])}
    path = tmp_path / f"houses{ending}"
    write(pa.table(columns), path)
    data = load(path, target="price", **AS_IT_IS)
    np.testing.assert_array_equal(data.X, [[3, 0, 1], [4, 1, 0], [5, 0, 1], [2, 1, 1]])
    refuses(lambda: load(path, target="price", delimiter="tab"), "no text file")
    refuses(lambda: load(path, target="cost"), "no column 'cost'", "rooms")
    write(pa.table(columns | {"when": pa.array([10**15 * i for i in range(4)], pa.timestamp("us"))}), path)
    refuses(lambda: load(path, target="price"), "'when'", "dates")
    write(pa.table(columns | {"many": pa.array([[1], [2, 3], [], None])}), path)
    refuses(lambda: load(path, target="price"), "'many'", "list")
    write(pa.table(columns | {"rooms": pa.array([3, None, 5, 2])}), path)
    refuses(lambda: load(path, target="price"), "row 1 (counting from 0)", "'rooms'", "empty")
    assert load(path, target="price", missing="drop-rows").n == 3
    path.write_bytes(path.read_bytes()[:-20])
    refuses(lambda: load(path, target="price"), "cannot be read")


def test_bytes_that_are_no_text_are_no_feature(tmp_path):
    path = tmp_path / "a.parquet"
    bad, good = [b"\xff0", b"\xff1", b"\xff0", b"\xff1"], [b"u", b"v", b"u", b"v"]
    for kind in (pa.binary(), pa.binary(2), pa.large_binary(), pa.binary_view()):
        pyarrow.parquet.write_table(pa.table({"x": [1.5, 2, 4, 3], "c": pa.array(bad, kind), "w": [2, 7, 1, 8]}), path)
        error = refuses(lambda: load(path, target="x"), "'c'", "binary", "--drop c")
        assert "one-hot" not in error.remedy and load(path, target="x", drop="c").d == 2
        refuses(lambda: load(path, target="c"), "'c'", "xff0")
    pyarrow.parquet.write_table(pa.table({"x": [1.5, 2, 4, 3], "c": pa.array(good, pa.binary())}), path)
    assert load(path, target="x").feature_names == ("c=v", "bias")
    assert load(path, target="c").preparation.target.labels == {"-1": "u", "+1": "v"}
    interval = pa.array([(1, i % 2, 0) for i in range(4)], pa.month_day_nano_interval())
    pyarrow.feather.write_feather(pa.table({"x": [1.5, 2, 4, 3], "c": interval}), tmp_path / "a.feather")
    for target in ("x", "c"):
        refuses(lambda target=target: load(tmp_path / "a.feather", target=target), "'c'")


def test_wide_tables_and_long_headers(csv_file):
    d = 20_000
    names = ",".join(f"gene_{j:06d}" for j in range(d))
    rows = np.random.default_rng(0).integers(0, 9, (4, d))
    text = names + "\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n"
    assert len(names) > 200_000
    data = load(csv_file(text), target="last", **AS_IT_IS, task="regression")
    np.testing.assert_array_equal(data.X, rows[:, :-1])


def test_rows_of_another_length_are_counted(csv_file):
    text = GOOD + "1,2\n1,2,3,4\n"
    refuses(lambda: load(csv_file(text), target="price"), "line 6", "2 cells", "first line has 3", "2 such lines")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(50), b"a,b\n1,\x002\n", bytes(range(256)) * 3])
def test_what_is_no_text_is_said_to_be_none(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    refuses(lambda: load(tmp_path / "a.csv", target="b"), "a.csv", "no text")


def test_nothing_from_a_file_reaches_the_terminal_raw(csv_file):
    error = refuses(lambda: load(csv_file('"a\n\u202e\u2028\x9b31m",price\nx,2\n'), target="pric"), "no column 'pric'")
    assert all(sign.isprintable() or sign == "\n" for sign in str(error))


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("1,200", ["thousands separator", "--thousands comma reads it as 1200", "--decimal comma reads it as 1.200"]),
        ("1,234,567.5", ["thousands separator", "1234567.5"]),
        ("1.234,5", ["thousands separator and a decimal comma", "--thousands point --decimal comma"]),
        ("1 200", ["thousands separator", "--thousands space"]),
        ("1'200", ["thousands separator", "--thousands apostrophe"]),
        ("1_0", ["underscore"]),
        ("1_000.5", ["underscore"]),
        ("12%", ["unit sign"]),
        ("$5", ["unit sign"]),
        ("0x10", ["'0x10' is not a number"]),
        ("1e", ["is not a number"]),
        ("--1", ["is not a number"]),
        ("١", ["is not a number", "Write it as 1."]),
        ("−5", ["is not a number", "Write it as -5."]),
        ("５.２５", ["is not a number", "Write it as 5.25."]),
        ("\u200b5", ["is not a number", "Write it as 5."]),
        ("1.200.000", ["thousands separator", "--thousands point reads it as 1200000"]),
        ("1 200,5", ["thousands separator", "--thousands space --decimal comma"]),
        ("1’200", ["thousands separator", "--thousands apostrophe"]),
        ("1\u00a0200", ["thousands separator", "--thousands space"]),
        ("1,20,000", ["not between thousands only", "120000"]),
        ("(500)", ["parentheses"]),
        ("+-5", ["is not a number with one sign"]),
        ("5 kg", ["has a unit"]),
    ],
)
@pytest.mark.parametrize("column", ["age", "price"])
def test_what_is_no_number_is_told_why(csv_file, cell, words, column):
    rows = [{"rooms": i, "price": i * 1.5, "age": i * 2.5} for i in range(1, 8)]
    rows[3][column] = cell
    text = "rooms;price;age\n" + "".join(f"{r['rooms']};{r['price']};{r['age']}\n" for r in rows)
    refuses(lambda: load(csv_file(text), target="price"), "line 5", f"'{column}'", *words)


@pytest.mark.parametrize("cells", [
        ("1,200", "3,400", "5,600"), ("1_0", "2_0", "1_0"), ("12 %", "13 %", "12 %"), ("−1", "0", "−2"),
        ("1.200.000", "1.300.000", "1.200.000"), ("(5)", "(7)", "9"), ("1,20,000", "1,30,000", "1,20,000"),
        ("-$5", "-$7", "-$5"), ("R$ 5", "R$ 7", "R$ 5"), ("USD 5", "USD 7", "USD 5"), ("EUR 1,5", "EUR 2", "EUR 1,5"),
        ("1’200", "1’300", "1’200"), ("0x1F", "0x2F", "0x1F"), ("5,-", "7,-", "5,-"), ("5‰", "7‰", "5‰"),
        ("+-5", "+-7", "+-5"), ("５", "７", "５"), ("٣", "٤", "٣"), ("5 €", "7 €", "5 €"), ("5 °C", "7 °C", "5 °C"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_read_are_neither_classes_nor_categories(csv_file, cells):
    for column in ("a", "y"):
        values = {"a": ["5", "6.5", "8"], "y": ["1.5", "2.5", "4"]} | {column: cells}
        text = "a;b;y\n" + "".join(f"{a};{i}.25;{y}\n" for i, (a, y) in enumerate(zip(*values.values(), strict=True)))
        refuses(lambda text=text: load(csv_file(text), target="y"), f"'{column}'", "line 2", cells[0])


@pytest.mark.parametrize(
    "kind", ["5 kg|7 kg", "1/2|3/4", "1d3|2d3", "1.5K|2.5K", "4 years|5 years", "5cm|7cm", "5 g|7 g"]
)
def test_numbers_with_words_are_no_classes_by_themselves_and_may_be_categories(csv_file, kind):
    text = "a;b\n" + "".join(f"{i * i % 7}.5;{kind.split('|')[i % 2]}\n" for i in range(8))
    refuses(lambda: load(csv_file(text), target="b"), "line 2", "'b'", kind.split("|")[0])
    assert load(csv_file(text), target="a").d == 2  # with a bias


@pytest.mark.parametrize(
    "kind", ["A1|B2", "1a|2b", "1st|2nd", "3D|2D", "5K|10K", "group 1|group 2", "1-0|0-1", "1+|2+", "BMW 3|BMW 5"]
)
def test_names_with_digits_are_classes(csv_file, kind):
    text = "a;b\n" + "".join(f"{i * i % 7}.5;{kind.split('|')[i % 2]}\n" for i in range(8))
    assert set(load(csv_file(text), target="b").preparation.target.labels.values()) == set(kind.split("|"))
    assert load(csv_file(text), target="a").d == 2  # with a bias


@pytest.mark.parametrize("target", ["a", "b"])
def test_decimal_commas_are_numbers_in_every_column(csv_file, target):
    text = "a;b\n1;0,5\n2;1,5\n4;0,5\n5;1,5\n"
    for settings in ({}, {"decimal": "comma"}):
        data = load(csv_file(text), target=target, **AS_IT_IS, **settings)
        other = load(csv_file(text.replace(",", ".")), target=target, **AS_IT_IS)
        assert data.fingerprint == other.fingerprint
    quoted = text.replace(";0,5", ',"0,5"').replace(";1,5", ',"1,5"').replace(";", ",")
    assert load(csv_file(quoted), target=target, **AS_IT_IS).fingerprint == other.fingerprint
    assert any("decimal commas" in remark for remark in remarks(load(csv_file(text), target="a")))


def test_a_mixture_of_decimal_signs_is_refused(csv_file):
    text = "a;b;y\n1,5;0.5;1\n2,5;1.5;2\n4,5;0.25;7\n"
    refuses(lambda: load(csv_file(text), target="y"), "'a'", "'1,5' has a decimal comma", "all columns")
    refuses(lambda: load(csv_file(text), target="y", decimal="comma"), "'b'", "decimal point")
    text = "a;b;y\n1,5;1.200;1\n2,5;1.300;2\n4,5;1.400;7\n"
    refuses(lambda: load(csv_file(text), target="y", decimal="comma"), "'1.200'", "--thousands point reads it as 1200")
    assert load(csv_file(text), target="y", thousands="point", **AS_IT_IS).X[0].tolist() == [1.5, 1200]


@pytest.mark.parametrize(
    ("settings", "cells"),
    [
        ({"thousands": "comma"}, ["1,200", "12,345,678.5", "7"]),
        ({"thousands": "point"}, ["1.200", "12.345.678,5", "7"]),
        ({"thousands": "point", "decimal": "comma"}, ["1.200", "12.345.678,5", "7"]),
        ({"thousands": "space"}, ["1 200", "12 345 678.5", "7"]),
        ({"thousands": "space"}, ["1\u00a0200", "12\u202f345\u2009678.5", "7"]),
        ({"thousands": "space", "decimal": "comma"}, ["1 200", "12 345 678,5", "7"]),
        ({"thousands": "apostrophe"}, ["1'200", "12'345'678.5", "7"]),
        ({"thousands": "apostrophe"}, ["1’200", "12’345’678.5", "7"]),
    ],
)
def test_thousands_are_read_when_told(csv_file, settings, cells):
    text = "a;y\n" + "".join(f"{cell};{i}\n" for i, cell in enumerate(cells))
    data = load(csv_file(text), target="y", **AS_IT_IS, **settings)
    np.testing.assert_array_equal(data.X[:, 0], [1200, 12345678.5, 7])
    with pytest.raises(ConfigError, match="thousands"):
        load(csv_file(text), target="y", thousands="point", decimal="point")


def test_signs_and_exponents_are_numbers(csv_file):
    text = "a,y\n+1,1\n-.5,2\n1.,3\n1E+05,4\n"
    np.testing.assert_array_equal(load(csv_file(text), target="y", **AS_IT_IS).X[:, 0], [1, -0.5, 1, 1e5])


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999", "INF"])
def test_what_is_infinite_is_named(csv_file, cell):
    refuses(lambda: load(csv_file(GOOD.replace("4,300,20", f"4,300,{cell}")), target="price"), "line 3", "infinite")
    refuses(lambda: load(csv_file(GOOD.replace("4,300,20", f"4,{cell},20")), target="price"), "line 3", "infinite")


def test_text_reads_as_python_writes(csv_file):
    values = np.random.default_rng(3).standard_normal(200) * 10.0 ** np.random.default_rng(4).integers(-100, 76, 200)
    text = "a,y\n" + "".join(f"{v!r},{i}\n" for i, v in enumerate(values.tolist()))
    np.testing.assert_array_equal(load(csv_file(text), target="y", **AS_IT_IS).X[:, 0], values)
