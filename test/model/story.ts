import type { AgentState } from '../../src/agent/states.ts'
import type { Reaction } from './agent-model.ts'
import type { Violation } from './explorer.ts'
import type { Happening } from './happenings.ts'

/**
 * A violation as a story: what happened, line by line, and beside it where the machine came to and what it began.
 * Generations have the numbers they would have on a device: the first is 1, and none is used twice.
 */
export function storyOf({ findings, trace }: Violation): string {
  const names = new Names()
  const lines = trace.map((happening, index) => {
    const line = `${String(index + 1).padStart(3)}. ${names.named(lineOf(happening))}`
    if (index < trace.length - 1) names.after(happening)
    return line
  })
  return [...findings.map(({ rule, what }) => names.named(`${rule}: ${what}`)), ...lines].join('\n')
}

function lineOf({ what, reactions }: Happening): string {
  const first = reactions[0]
  const last = reactions.at(-1)
  if (first === undefined || last === undefined) return what
  const details = [
    ...movement('connection', first, last, ({ connection }) => connection.phase),
    ...movement('roll', first, last, ({ roll }) => roll.phase),
    ...movement('active', first, last, ({ active }) => (active === null ? 'none' : `#${active}`)),
    ...reactions.flatMap(({ begun }) => begun.map(({ task }) => `begins ${task.kind} #${task.generation}`)),
  ]
  return details.length === 0 ? what : `${what}  [${details.join(', ')}]`
}

function movement(
  name: string,
  { before }: Reaction,
  { after }: Reaction,
  part: (state: AgentState) => string,
): string[] {
  return part(before) === part(after) ? [] : [`${name}: ${part(before)} -> ${part(after)}`]
}

/** The names of generations while worlds number them anew. */
class Names {
  #names = new Map<number, number>()
  #last = 0

  /** A text with the names in place of the numbers; a number that is new here gets the next name. */
  named(text: string): string {
    return text.replaceAll(/#(\d+)/g, (_, number: string) => `#${this.#nameOf(Number(number))}`)
  }

  after({ numbers }: Happening): void {
    if (numbers === null) return
    this.#names = new Map([...numbers].map(([from, to]) => [to, this.#nameOf(from)]))
  }

  #nameOf(number: number): number {
    const known = this.#names.get(number)
    if (known !== undefined) return known
    this.#last += 1
    this.#names.set(number, this.#last)
    return this.#last
  }
}
