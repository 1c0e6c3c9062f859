"""The elements of HTML, by what takes the place of their tags in plain text.

https://html.spec.whatwg.org/multipage/indices.html#elements-3, and the obsolete elements that old feeds still contain.
"""

_INLINE_NAMES = """
    a abbr acronym b bdi bdo big blink cite code data del dfn em font i ins kbd mark marquee q s samp small span
    strike strong sub sup time tt u var wbr
"""
INLINE = frozenset(_INLINE_NAMES.split())
"""Their tags vanish, so that the text around them stays one word."""
_BLOCK_NAMES = """
    address applet article aside audio blockquote body br button canvas caption center col dd details dir div dl dt
    embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img
    input label legend li link main map meta nav ol option p picture pre section select source summary table tbody
    td template tfoot th thead title tr track ul video
"""
BLOCK = frozenset(_BLOCK_NAMES.split())
"""Their tags become a space."""
HIDDEN = frozenset(["script", "style", "noscript", "object", "svg", "textarea"])
"""They vanish with their content."""
