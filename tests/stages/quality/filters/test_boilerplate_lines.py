def test_menus_go_and_prose_stays(edited):
    text = "로그인 | 회원가입\n\n오늘 로그인 화면에서 오류가 났다.\n\nShare on Facebook\n\nShe had to sign in twice."
    assert edited("boilerplate_lines", text) == "오늘 로그인 화면에서 오류가 났다.\n\nShe had to sign in twice."
