import pytest

from rb2v.errors import InputError
from rb2v.training.tables import read_table


def read(path, text):
    path.write_text(text)
    return read_table(path, ("take", "psnr"), texts=("take",), expected="a table")


def test_names_are_text_and_nothing_is_no_number(tmp_path):
    table = read(tmp_path / "a.csv", "take,psnr\nNA,1.5\nnull,\n001,nan\nnan,2\n")
    assert table["take"].tolist() == ["NA", "null", "001", "nan"]
    assert table["psnr"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "key"), [("take\na\n", "psnr"), ("take,psnr\na,NA\n", "psnr"), ("", None), ('take,psnr\n"a,1\n', None)]
)
def test_faults_are_named_by_file_and_column(tmp_path, text, key):
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.csv", text)
    assert (caught.value.source, caught.value.key) == (str(tmp_path / "a.csv"), key)
