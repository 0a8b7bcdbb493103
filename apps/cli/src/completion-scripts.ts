export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

// Each asks `berth __complete -- WORDS… CURRENT`: a candidate a line, its description behind a tab; `:files` leaves it to
// the shell.
const scripts: Readonly<Record<Shell, string>> = {
  bash: `# bash completion of berth. Load it with: source <(berth completion bash)
_berth() {
  local current="\${COMP_WORDS[COMP_CWORD]}" answer
  answer="$(berth __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
  COMPREPLY=()
  if [[ "$answer" == ":files" ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ -n "$answer" ]]; then
    mapfile -t COMPREPLY < <(cut -f1 <<< "$answer")
  fi
}
complete -F _berth berth
`,
  zsh: `#compdef berth
# zsh completion of berth. Load it with: source <(berth completion zsh)
_berth() {
  local -a lines candidates
  local line
  lines=("\${(@f)$(berth __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${lines[1]}" == ":files" ]]; then
    _files
    return
  fi
  for line in "\${lines[@]}"; do
    [[ -n "$line" ]] || continue
    candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe 'berth' candidates
}
compdef _berth berth
`,
  fish: `# fish completion of berth. Load it with: berth completion fish | source
function __berth_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  test -n "$current"; or set current ''
  set -l lines (berth __complete -- $words[2..-1] "$current" 2>/dev/null)
  if test "$lines[1]" = ':files'
    __fish_complete_path "$current"
  else
    string join \\n -- $lines
  end
end
complete -c berth -f -a '(__berth_complete)'
`,
};

export function completionScript(shell: Shell): string {
  return scripts[shell];
}
