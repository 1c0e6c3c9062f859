"""The elements of HTML, JATS and MathML, by what takes the place of their tags in plain text.

HTML: https://html.spec.whatwg.org/multipage/indices.html#elements-3, and the obsolete elements that old feeds still
contain. JATS: https://jats.nlm.nih.gov/archiving/tag-library/1.3/ MathML: https://www.w3.org/TR/mathml-core/
"""

_INLINE_NAMES = """
    a abbr acronym b bdi bdo big blink cite code data del dfn em font i ins kbd mark marquee q s samp small span
    strike strong sub sup time tt u var wbr
    abbrev alternatives article-title bold chem-struct collab compound-kwd email ext-link fixed-case inf inline-formula
    inline-graphic inline-media inline-supplementary-material italic milestone-end milestone-start monospace
    named-content overline private-char roman sans-serif sc styled-content target tex-math underline uri volume-id xref
    maction math menclose merror mfenced mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms
    msqrt mstyle msub msubsup msup mtext munder munderover semantics
"""
INLINE = frozenset(_INLINE_NAMES.split())
"""Their tags vanish, so that the text around them stays one word."""
_BLOCK_NAMES = """
    address applet article aside audio blockquote body br button canvas caption center col dd details dir div dl dt
    embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img
    input label legend li link main map meta nav ol option p picture pre section select source summary table tbody
    td template tfoot th thead title tr track ul video
    boxed-text break def-item def-list disp-formula disp-formula-group disp-quote fig fig-group list-item
    mspace mtable mtd mtr sec table-wrap trans-abstract trans-title verse-group
"""
BLOCK = frozenset(_BLOCK_NAMES.split())
"""Their tags become a space."""
HIDDEN = frozenset(["script", "style", "noscript", "object", "svg", "textarea", "annotation", "annotation-xml"])
"""They vanish with their content. An annotation of MathML repeats the formula in another language."""
BETWEEN_CHILDREN = {"mfrac": "/", "msup": "^", "mover": "^", "msubsup": " ", "munderover": " "}
"""What stands between the children of an element of MathML, so that no two numbers become one."""
