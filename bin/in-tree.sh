# Read by the scripts beside it, with `self` set to their own path: gives `root` (the checkout) and `python` (that of
# its .venv, made or brought up to date first where need be).
#
# The usual case has to cost next to nothing, since every dronectl pays it: tests and no subprocess. .venv/run.seen is
# a copy of pyproject.toml's *time*: while both are the same, what is installed is what is asked for.

folder=${self%/*}
if [ "$folder" = bin ] && ! [ -L bin ]; then
    root=$PWD
elif [ "${folder##*/}" = bin ] && [ "$folder" != bin ] && ! [ -L "$folder" ]; then
    root=${folder%/bin}
else
    root=$(cd -P -- "$folder/.." && pwd -P) || exit 1
fi
python=$root/.venv/bin/python
seen=$root/.venv/${extra:-run}.seen
if ! [ -x "$python" ] || ! [ -e "$seen" ] ||
    [ "$root/pyproject.toml" -nt "$seen" ] || [ "$root/pyproject.toml" -ot "$seen" ]; then
    "$root/bin/make-venv" "${extra:-run}" || exit
fi
