import pytest

import rb2v.matting


@pytest.mark.parametrize(("former", "name"), [("MATTERS", "MATTING_METHODS"), ("make_matter", "make_matting_method")])
def test_a_former_name_is_found_and_noted(former, name):
    with pytest.warns(DeprecationWarning, match=f"{former} is now {name}"):
        found = getattr(rb2v.matting, former)
    assert found is getattr(rb2v.matting, name)
