"""Small templates, each about one construct, and the values that they see."""

from __future__ import annotations

from typing import Any

VARIABLES: dict[str, Any] = {
    "s": "  Hello, Wörld! ",
    "e": "",
    "n": 7,
    "m": -3,
    "f": 2.5,
    "t": True,
    "no": None,
    "xs": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "rows": [
        {"role": "user", "content": "one", "n": 2},
        {"role": "assistant", "content": "two", "n": 1, "deep": {"a": [10, {"b": "x"}]}},
        {"role": "user", "content": "three", "n": 3},
    ],
    "d": {"b": 1, "a": [1, 2.0, None, True, "q'\"\n"], "items": "key", "ü": {"x": 1e100}},
    "text": "línea uno\r\nline two\n\n  three\u2028four\tfive",
    "odd": "ǅ ß ŉ ΑΣ ΑΣΑ ὈΔΥΣΣΕΎΣ. İ ﬁ ʰx 𐐀 l'été",
    "hidden": "a\u200b\x7f\x00\u00ad\ue000\U0001f600\ud7ff",
    "floats": [0.1, 1.0, -0.0, 1e16, 123456789012345680.0, 1e-5, 0.0001, 5e-324, 1.7e308, 1e22],
}

_EXPRESSIONS = """
1 + 2 * 3 - 4 / 2 ¦ n // 2 ¦ m // 2 ¦ m % 2 ¦ n % m ¦ 2 ** 10 ¦ 2 ** -1 ¦ 7.5 // 2 ¦ -7.5 % 2
f * 2 ¦ 1 / 3 ¦ 10 / 5 ¦ -n ¦ +f ¦ -f ¦ t + 1 ¦ "a" * 3 ¦ 3 * "ab" ¦ [1] * 2 ¦ [1] + [2, 3]
(1,) + (2,) ¦ "a" + "b" ¦ n / 0 ¦ n // 0 ¦ n % 0 ¦ "a" + 1 ¦ no + "x" ¦ missing + 1 ¦ e + missing
1 == 1.0 ¦ true == 1 ¦ "a" == "a" ¦ [1, [2]] == [1, [2.0]] ¦ {"a": 1} == {"a": 1} ¦ (1,) == [1]
none == none ¦ missing == other ¦ missing == none ¦ 1 < 2 ¦ 2 <= 2.0 ¦ "a" < "b" ¦ "Z" > "a"
[1, 2] < [1, 3] ¦ 1 < "a" ¦ none < 1 ¦ missing > 1 ¦ "é" > "z" ¦ 3 in xs ¦ 9 in xs ¦ "ell" in s
"x" not in s ¦ "b" in d ¦ "zz" in d ¦ 1 in s ¦ n in no ¦ "" in e ¦ 1 in missing ¦ xs in [xs]
"a" ~ 1 ~ none ~ true ~ missing ~ 2.0 ¦ not e ¦ not s ¦ e or "x" ¦ s and "y" ¦ no and 1 ¦ 0 or e
"yes" if t else "no" ¦ "yes" if e ¦ ("yes" if e) is defined ¦ 1 if missing else 2 ¦ s[0] ¦ s[2]
s[-2] ¦ s[99] ¦ s[2:5] ¦ s[::-1] ¦ s[::2] ¦ s[-4:] ¦ s[:-1] ¦ s[5:2] ¦ odd[3:9:2] ¦ xs[0] ¦ xs[-1]
xs[9] ¦ xs[1:] ¦ xs[::-1] ¦ xs[-2:] ¦ xs[:1] ¦ xs[5:1:-1] ¦ xs["a"] ¦ xs[none] ¦ d["b"] ¦ d.b
d["zz"] ¦ d.zz ¦ d.items ¦ d["items"] ¦ d.a[2] ¦ d["ü"]["x"] ¦ rows[1].deep.a[1].b
rows[0].nothing.more ¦ missing.x ¦ missing["x"] ¦ n.x ¦ no.x ¦ e.x is defined ¦ d.get("b")
d.get("zz") ¦ d.get("zz", 5) ¦ d.get(1) ¦ d.keys() | list ¦ d.keys() ¦ d.items() | list
d.values() ¦ "a" is string ¦ d is mapping ¦ xs is iterable ¦ xs is sequence ¦ d is sequence
n is number ¦ f is float ¦ n is integer ¦ t is integer ¦ t is boolean ¦ t is true ¦ t is false
n is true ¦ no is none ¦ missing is none ¦ missing is defined ¦ n is defined
missing is undefined ¦ missing is iterable ¦ missing is sequence ¦ n is iterable ¦ n is sequence
s is sequence ¦ n is odd ¦ n is even ¦ n is divisibleby 7 ¦ n is divisibleby(2) ¦ n is eq 7
n is equalto(8) ¦ n is ne 7 ¦ n is gt 2 ¦ n is ge(7) ¦ n is lt 2 ¦ n is le 2 ¦ "a" is in "abc"
n is in [7] ¦ n is not none ¦ range is callable ¦ n is callable ¦ missing is callable
namespace() is mapping ¦ namespace() is iterable ¦ d.items() is iterable ¦ d.items() is sequence
(1, 2) is sequence ¦ s | trim ¦ s | trim(" !") ¦ s | length ¦ xs | length ¦ d | length
n | length ¦ no | trim ¦ missing | trim ¦ e | upper ¦ s | upper ¦ odd | upper ¦ odd | lower
odd | capitalize ¦ odd | title ¦ odd.upper() ¦ odd.lower() ¦ odd.title() ¦ odd.capitalize()
"a-b (c" | title ¦ "ab\u00a0cd" | title ¦ s | replace("l", "L") ¦ s | replace("l", "L", 1)
"abc" | replace("", "-") ¦ n | replace(7, 8) ¦ s.replace("o", "0") ¦ "aaa".replace("aa", "b")
"aaa".replace("a", "b", 2) ¦ "".replace("", "x") ¦ xs | join ¦ xs | join(", ")
rows | join("; ", attribute="role") ¦ d | join(",") ¦ s | join("|") ¦ missing | join(",")
n | join ¦ xs | first ¦ e | first ¦ [] | first ¦ s | first ¦ d | first ¦ xs | last ¦ [] | last
s | last ¦ d | last ¦ xs | reverse | list ¦ s | reverse ¦ xs | sort ¦ words | sort
words | sort(case_sensitive=true) ¦ words | sort(reverse=true) ¦ rows | sort(attribute="n")
rows | map(attribute="n") | sort | join(",") ¦ [1, "a"] | sort ¦ d | dictsort ¦ d | dictsort(true)
d | dictsort(reverse=true) ¦ {"b": 1, "a": 2} | dictsort(by="value")
[2, 1, 2, 1.0] | unique | list ¦ words | unique | join ¦ xs | sum ¦ rows | sum(attribute="n")
xs | min ¦ words | max ¦ [] | max ¦ m | abs ¦ -2.5 | abs ¦ s | abs ¦ "42" | int ¦ " 4_2 " | int
"4.9" | int ¦ "x" | int ¦ "x" | int(5) ¦ "1e3" | int ¦ "inf" | int ¦ "0x1f" | int ¦ n | float
"2.50" | float ¦ "x" | float ¦ "nan" | float ¦ " -1_0.5e1 " | float ¦ no | int ¦ t | int ¦ f | int
xs | int ¦ missing | int(3) ¦ "" | int ¦ xs | list ¦ "abc" | list ¦ d | list ¦ n | list
range(4) | list ¦ range(1, 9, 3) | list ¦ range(5, 0, -2) | list ¦ range(3)[1] ¦ range(0) | length
range(2) is sequence ¦ range(10**6) | list ¦ n | string ¦ f | string ¦ xs | string
xs | string | length ¦ missing | string ¦ no | string ¦ d | items | list ¦ missing | items | list
xs | items | list ¦ rows | map(attribute="role") | list ¦ rows | map(attribute="deep.a.0") | list
rows | map(attribute="zz", default="-") | list ¦ words | map("upper") | list
xs | map("string") | join("+") ¦ words | map("replace", "a", "z") | list
rows | map(attribute="role") | unique | list ¦ rows | selectattr("role", "equalto", "user") | list
rows | selectattr("n", "gt", 1) | map(attribute="n") | list
rows | rejectattr("deep") | list | length ¦ rows | selectattr("deep", "defined") | list | length
xs | select("odd") | list ¦ xs | reject("gt", 1) | list ¦ [0, 1, "", "a"] | select | list
[0, 1] | reject | list ¦ rows | map(attribute="n") | length ¦ rows | selectattr("role") | first
xs | reverse | first ¦ xs | default("x") ¦ missing | default("x") ¦ missing | default
e | default("x") ¦ e | default("x", true) ¦ no | d("y", boolean=true) ¦ no | d("y")
missing.x | default("z") ¦ d.zz | default(d.b) ¦ xs | tojson ¦ d | tojson ¦ d | tojson(indent=2)
d | tojson(indent=0) ¦ d | tojson(separators=(",", ":")) ¦ d | tojson(sort_keys=true)
odd | tojson ¦ odd | tojson(ensure_ascii=true) ¦ hidden | tojson
hidden | tojson(ensure_ascii=true) ¦ missing | tojson ¦ [] | tojson(indent=4) ¦ {} | tojson(2)
[[], {}] | tojson(indent=1) ¦ (1, (2,)) | tojson ¦ floats | tojson
{1: 2, none: 3, true: 4, 2.5: 5} | tojson ¦ d.items() | tojson ¦ 1e400 | tojson ¦ "<&'>" | tojson
d | tojson(indent="--") ¦ text | indent ¦ text | indent(2, true)
text | indent(3, first=true, blank=true) ¦ text | indent("> ") ¦ n | indent ¦ e | indent
e | indent(2, true) ¦ text.splitlines() ¦ text.splitlines(true) ¦ d | string ¦ xs | string
(1,) | string ¦ () | string ¦ {} | string ¦ hidden | string ¦ [hidden] ¦ floats | string
floats | join(" ") ¦ odd | string ¦ [odd] ¦ [s, "it's", 'say "x"', 'b\\\\n\t'] ¦ {"k": none}
s.strip() ¦ s.lstrip() ¦ s.rstrip() ¦ s.strip(" !H") ¦ s.strip(none) ¦ "xxaxx".lstrip("x")
s.strip(1) ¦ s.split() ¦ s.split(",") ¦ "a,b,,c".split(",") ¦ "a,b,c".split(",", 1)
"  a  b c ".split(none, 1) ¦ "a,b,c".rsplit(",", 1) ¦ " a b  c ".rsplit(none, 1)
" a b ".rsplit() ¦ "".split() ¦ "".split(",") ¦ "abc".split("")
"</think>x</think>y".split("</think>")[-1] ¦ "a--b--".rsplit("--") ¦ "  ".rsplit(none, 1)
"a  b ".split(none, 5) ¦ "aXbX".split("X", maxsplit=1) ¦ s.startswith("  H") ¦ s.endswith("! ")
s.startswith(("x", " ")) ¦ s.startswith(1) ¦ "ab".endswith("abc") ¦ s.find("W") ¦ s.find("zz")
s.rfind("l") ¦ odd.find("ὈΔ") ¦ s.count("l") ¦ "aaa".count("aa") ¦ odd.count("") ¦ s.index("zz")
"ab".removeprefix("a") ¦ "ab".removesuffix("b") ¦ "ab".removeprefix("x") ¦ "12".isdigit()
"1²".isdigit() ¦ "1a".isdigit() ¦ "".isdigit() ¦ " \t".isspace() ¦ "".isspace() ¦ ",".join(words)
"-".join("abc") ¦ ",".join(xs) ¦ ",".join(d) ¦ e.x.y ¦ xs.append(1) ¦ d.update({}) ¦ d.pop("b")
n() ¦ missing() ¦ s.missing() ¦ d.b() ¦ no.strip() ¦ s.upper ¦ s.upper is defined
xs.append is defined ¦ d.update is defined ¦ d.copy is defined ¦ {"a": 1}.a ¦ {"a": 1, "a": 2}
{"x": [1, (2, 3)]}["x"][1][0] ¦ [1, 2, 3][1:][0] ¦ (1, 2)[0] ¦ "abc"[1] ¦ dict(a=1, b="x")
dict({"z": 0}, a=1) ¦ dict() ¦ namespace(a=1).a ¦ namespace().b ¦ namespace({"q": 4}).q
raise_exception("no") ¦ "%d" ¦ cycle ¦ loop ¦ self.x ¦ true and false or true ¦ not true == false
1 ~ 2 + 3 ¦ "a" "b" ¦ "\\n" ¦ 'tab\tq' ¦ 1_000 ¦ 0x10 ¦ 1e3 ¦ 1.50 ¦ none ¦ None ¦ True ¦ [] ¦ ()
{} ¦ s | safe ¦ (s | safe) | upper ¦ "<b>" | safe ~ "&" ¦ "a" ~ ("<" | safe) ¦ d | tojson | safe
xs | count ¦ rows[0] | list ¦ rows[0].keys() | join(",") ¦ rows | length > 2 ¦ rows[-1]["content"]
rows[0]["con" ~ "tent"] ¦ rows | first | tojson ¦ rows[n] ¦ rows[1:] | length
rows[::2] | map(attribute="content") | join ¦ 9223372036854775807 ¦ -9223372036854775807 - 1
n in (7, 8) ¦ (n, m) == (7, -3) ¦ f is number ¦ t is number ¦ ("<" | safe) + "<&"
"'\\"" + ("<" | safe) ¦ ("<b>" | safe) + ("<" | safe) ¦ ("<" | safe)[0] + "<"
(" <b" | safe | trim) + ">" ¦ ("<b" | safe | upper) + ">" ¦ ("<b" | safe | title) + ">"
xs | safe ¦ (" <b" | safe).strip() + ">" ¦ ("<b" | safe)[::-1] + ">" ¦ ("<" | safe) * 2 + "<"
d | safe + "<" ¦ ("<" | safe) == "<" ¦ ("<" | safe) in "a<"
("<" | safe | replace("<", "&")) + ">" ¦ d | tojson | safe ¦ ["<" | safe] | join("&") + "<"
("<" | safe | string) + "&" ¦ ("<" | safe) ~ "<" ~ 1 ¦ ("<b" | safe).upper() + "<"
("<b" | safe | capitalize) + "&" ¦ ("<" | safe) is string ¦ ("<" | safe) | length
("<" | safe | first) + "<" ¦ ("<" | safe | list)[0] + "<" ¦ ("<" | safe | last) + "<"
("<" | safe) | tojson ¦ ("<" | safe) and "&" ¦ "<{}>{}".format(n, no) ¦ "{}".format("a", 1)
"{}{}".format("a") ¦ "a".format() ¦ "{}".format(missing) ¦ ("<" | safe | default("x")) + "<"
{"<" | safe: 1}["<"] ¦ ("a" | safe).startswith("a") ¦ xs.append(1) or 2 ¦ xs.count(1)
(1, 1).count(1) ¦ d.items() | unique | list ¦ rows | map(attribute=none) | list | length
(1, [2]) in d ¦ d[(1, [2])] ¦ d[(1, 2)] ¦ {(1, 2): 3}[(1, 2)] ¦ {[]: 1} ¦ d.get([])
d.get((1, 2)) ¦ [none, none] | sort ¦ rows | sort(attribute="zz") | length
rows | sort(attribute="deep") | length ¦ [{}, {}] | sort
""".strip()

STATEMENTS = [
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ x }}"
    "{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}|"
    "{{ loop.nextitem }}"
    "{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.nothing }};{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in xs %}{{ x }}{% else %}none"
    "{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ x }}{% else %}none{% endfor %}{% for x in xs if x > 9 %}{{ x }}"
    "{% else %}none{% endfor %}",
    "{% set ns = namespace(last=0) %}{% for x in [1, 1, 2, 2] if x != ns.last %}"
    "{% set ns.last = x %}{{ x }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d | items %}{{ loop.index }}{{ k }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3)), [4, [5, 6]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% for a, b in [[1]] %}{% endfor %}",
    "{% for x in no %}{% endfor %}",
    "{% for x in n %}{% endfor %}",
    "{% for x in missing %}{% else %}nothing{% endfor %}",
    "{% for c in 'añ😀' %}[{{ c }}]{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}never{% endfor %}",
    "{% for x in xs %}{% break %}{% else %}still{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ loop.index }}"
    "{% endfor %}{{ loop.index }}{{ x }}{% endfor %}{{ x }}{{ y }}",
    "{% for x in xs %}{% set z = x %}{% endfor %}{{ z }}",
    "{% set z = 1 %}{% for x in xs %}{% set z = z + x %}{{ z }}{% endfor %}{{ z }}",
    "{% set n = n + 1 %}{{ n }}",
    "{% if true %}{% set q = 5 %}{% endif %}{{ q }}{% if false %}{% set r = 5 %}{% endif %}{{ r }}",
    "{% if false %}{% set n = 5 %}{% endif %}{{ n }}",
    "{% for x in xs %}{% if x == 1 %}{% set n = 5 %}{% endif %}{{ n }}{% endfor %}{{ n }}",
    "{% set s = 'x' %}{% for x in xs %}{{ s }}{% set s = s ~ x %}{{ s }}{% endfor %}{{ s }}",
    "{% set a, b = (1, 2) %}{{ a }}{{ b }}{% set c = d %}{{ c.b }}",
    "{% set x %}in {{ n }}{% for y in xs %}{{ y }}{% endfor %}"
    "{% endset %}[{{ x }}]{{ x is string }}",
    "{% set x | upper | trim %} a{{ n }} {% endset %}[{{ x }}]",
    "{% set x %}{% set n = 1 %}{{ n }}{% endset %}{{ x }}{{ n }}",
    "{% set ns = namespace(n=0, s='', l=[]) %}{% for x in xs %}{% set ns.n = ns.n + x %}"
    "{% set ns.s = ns.s ~ x %}{% set ns.l = ns.l + [x] %}{% endfor %}{{ ns.n }}{{ ns.s }}{{ ns.l }}"
    "{{ ns.zz }}{% set ns.new = 1 %}{{ ns.new }}{{ ns['s'] }}{{ ns['zz'] is defined }}",
    "{% set d.x = 1 %}",
    "{% set missing.x = 1 %}",
    "{% macro m(a, b='x', c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2, 3) }}"
    "{{ m(b=5, a=4) }}{{ m() }}{{ m(c=1) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{{ a }}{{ n }}{{ later }}{% endmacro %}{% set later = 3 %}{{ m(1) }}"
    "{% set n = 8 %}{{ m(2) | length }}{{ m('<') ~ '>' }}{{ m is callable }}",
    "{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{{ k }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% macro f(k) %}{% for i in range(k) %}{{ i }}{{ f(k - 1) }}{{ i }}{{ loop.index }}"
    "{% endfor %}"
    "{% endmacro %}{{ f(3) }}",
    "{% macro f(k) %}{{ f(k + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro a(x) %}{% set y = x * 2 %}{{ y }}{% endmacro %}{% set y = 1 %}{{ a(3) }}{{ y }}",
    "{% macro a(x) %}{% macro b(y) %}{{ x }}{{ y }}{% endmacro %}{{ b(1) }}{{ b(2) }}{% endmacro %}"
    "{{ a(7) }}",
    "{% for x in xs %}{% macro a() %}{{ x }}{% endmacro %}{{ a() }}{% endfor %}",
    "{% macro a(x, n=n) %}{{ x }}{{ n }}{% endmacro %}{{ a(1) }}",
    "{% if e %}a{% elif no %}b{% elif n == 7 %}c{% else %}d{% endif %}",
    "{% if e %}a{% elif no %}b{% else %}d{% endif %}{% if missing %}x{% endif %}",
    "{% generation %}a{% set n = 9 %}{{ n }}{% endgeneration %}{{ n }}",
    "{% for r in rows %}{%- generation -%} {{ r.content }} {%- endgeneration -%}{% endfor %}",
    "{% with a = n, b = 2 %}{{ a }}{{ b }}{% set n = 0 %}{{ n }}{% endwith %}{{ n }}{{ a }}",
    "  {% if true %}\n  x\n  {% endif %}\n\ty {# comment #}\n  {%- set a = 1 -%}\n z {{- a -}} \n",
    "{%+ if true +%}\n a {% endif %}\n\n{{ 1 }}\n",
    "{% filter replace('a', n) | upper %}a{{ n }}b{% set n = 1 %}{{ n }}{% endfilter %}{{ n }}",
    "{% for x in xs %}{% filter trim %} {{ loop.index }} {% endfilter %}{% endfor %}",
    "{% raw %}{{ x }}{% endraw %}\n",
    "{{ rows | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(' ') }}",
    "{% set g = rows | map(attribute='n') %}{{ g | list }}{{ g | list }}{{ g is defined }}",
    "{% set g = rows | map(attribute='n') %}{{ g | first }}{{ g | join(',') }}"
    "{% if g %}y{% endif %}",
    "{% set x = rows | selectattr('n', 'in', [1, 2]) | list %}{{ x | length }}{{ x[0].n }}",
    "{{ strftime_now('%d %b %Y %H:%M') | length }}",
    "{% for m in rows %}{{ '<|' ~ m.role ~ '|>' if m.n > 1 else m.content }}{% endfor %}",
    "{% for x in range(3) %}{{ x }}{{ ',' if not loop.last }}{% endfor %}",
    "{% set messages = rows[1:] %}{% for m in messages %}{{ m.n }}{% endfor %}",
    "{% set s %}{{ s }}{% endset %}{{ s }}",
    "{{ range }}",
    "{{ loop }}",
    "{% for x in xs %}{{ loop }}{% endfor %}",
    "{% set l = 'x' * 100 %}{% for i in range(50) %}{% set l = l ~ 'y' %}{% endfor %}{{ l }}",
]

#: What has no code, and what the refusal names.
REFUSED = {
    "a\n{% include 'x' %}": "Include",
    "{% extends 'x' %}": "Extends",
    "{% block b %}{% endblock %}": "Block",
    "a\n\n{{ x | batch(2) }}": "batch",
    "{{ x is sameas y }}": "sameas",
    "{{ 'a%s' % 1 }}": "%",
    "{{ '{:d}'.format(1) }}": "format",
    "{{ x.__class__ }}": "__class__",
    "{% call m() %}{% endcall %}": "call",
    "{% for x in y recursive %}{{ loop(x) }}{% endfor %}": "recursive",
    "{{ lipsum() }}": "lipsum",
    "{{ x | escape }}": "escape",
    "{{ f(*x) }}": "`*`",
    "{{ -2 ** x }}": "power",
    "{{ 1 < 2 < 3 }}": "chain",
    "{{ 10000000000000000000 }}": "64 bits",
    "{% macro m() %}{{ varargs }}{% endmacro %}": "varargs",
    "{{ x | trim('a', 'b') }}": "trim",
    "{{ x | map(y) }}": "map|run time",
    "{{ x |": "parse",
    "{% set ns = namespace(a=1) %}{% for x in y if x != ns.a %}{{ loop.index }}{% set ns.a = x %}"
    "{% endfor %}": "depends",
}

#: Values that differ in name only are not told apart: these are errors, never another text.
ONLY_ERRORS = (
    "self.x",
    "d.items",
    "s.upper",
    "d.keys()",
    "d.values()",
    "d.items()",
    "{{ range }}",
    "loop }",
)


def expressions() -> list[str]:
    """The expressions of the table above."""
    return [part for line in _EXPRESSIONS.splitlines() for part in line.split(" ¦ ")]
