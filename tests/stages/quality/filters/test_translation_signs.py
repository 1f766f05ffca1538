def test_particles_left_open_and_notices(reasons):
    texts = ["파일을(를) 열 수 없습니다.", "이 글은 구글 번역으로 옮겼다.", "사람이 쓴 글이다."]
    assert reasons("translation_signs", texts) == [
        "translation_signs.particles.high",
        "translation_signs.notices.high",
        None,
    ]
