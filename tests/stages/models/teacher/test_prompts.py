"""Four slots, examples as turns."""

from stages.models.teacher.prompts import FewShotExample, PromptTemplate


def test_slots_in_order_and_examples_as_turns():
    prompt = PromptTemplate(
        "en", "Answer.", "One word.", (FewShotExample("2+2", "four", "numbers"),), "You are a teacher.", steps=True
    )
    messages = prompt.render("3+3", "sums")
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]
    assert messages[0][1].startswith("You are a teacher.\n\nAnswer.\n\nReason step by step")
    assert messages[1][1] == "[Context]\nnumbers\n\n[Input]\n2+2\n\n[Output]\nOne word." and messages[2][1] == "four"
    assert messages[3][1] == "[Context]\nsums\n\n[Input]\n3+3\n\n[Output]\nOne word."


def test_korean_zero_shot():
    assert PromptTemplate("ko", "답하세요.", "한 낱말로.").render("2+2") == (
        ("system", "답하세요."),
        ("user", "[입력]\n2+2\n\n[출력]\n한 낱말로."),
    )
