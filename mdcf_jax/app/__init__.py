"""The web page: `mdcf app`.

`uploads` lets files in, `framing` finds the square, `visits` keeps what belongs
to a visitor and deletes it, `work` makes videos one after the other: none of
these knows of gradio. `page` is the layout, `handlers` what its buttons do,
`guard` what the server answers to, `server` starts it.
"""
