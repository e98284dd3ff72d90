import { Purse, type Budget } from './budget.ts'
import { keyOf } from './canonical.ts'
import { Graph } from './graph.ts'
import type { Happening, Happenings, Price } from './happenings.ts'
import type { World } from './world.ts'

/** What is wrong, and by which rule. */
export interface Finding {
  readonly rule: string
  readonly what: string
}

/** Holds one happening, or the beginning, against the rules; finds nothing where all is well. */
export type Check = (before: World | null, happening: Happening) => readonly Finding[]

/** What is wrong where it first goes wrong, and how it comes to it in as few steps as possible. */
export interface Violation {
  readonly findings: readonly Finding[]
  readonly trace: readonly Happening[]
}

const prices: readonly Price[] = ['free', 'roll', 'crash', 'fault', 'crash and fault']

/** A world with what is left to spend, and the node it was reached from first. */
interface Node {
  readonly world: number
  readonly left: number
  readonly from: number
}

/**
 * Everything that can happen within a budget, breadth first.
 *
 * What can happen in a world does not depend on what is left to spend, only whether it can be paid does. So each world is
 * looked into once, and the search goes over pairs of a world and what is left; a pair is passed over when the same world
 * was reached before with at least as much left, since everything after it is reached from there in as few steps.
 */
export class Explorer {
  readonly #happenings: Happenings
  readonly #check: Check
  readonly #purse: Purse
  readonly #graph = new Graph(prices.length)
  readonly #worlds: World[] = []
  readonly #numbers = new Map<string, number>()
  /** For each world a bit for every amount that it was reached with, or with more. */
  readonly #covered: number[] = []
  readonly #nodes: Node[] = []

  constructor(happenings: Happenings, check: Check, budget: Budget) {
    this.#happenings = happenings
    this.#check = check
    this.#purse = new Purse(budget)
  }

  get graph(): Graph {
    return this.#graph
  }

  /** The worlds that were reached, by their number. */
  get worlds(): readonly World[] {
    return this.#worlds
  }

  /** Goes everywhere, or as far as the first violation. */
  explore(): Violation | null {
    const begin = this.#happenings.begin()
    const findings = this.#check(null, begin)
    if (findings.length > 0) return { findings, trace: [begin] }
    this.#reach(this.#numberOf(begin.world), this.#purse.full, -1)
    for (let node = 0; node < this.#nodes.length; node += 1) {
      const violation = this.#lookInto(node)
      if (violation !== null) return violation
    }
    return null
  }

  /** A shortest way to a world. */
  traceTo(world: number): readonly Happening[] {
    return this.#traceTo(this.#nodes.findIndex((node) => node.world === world))
  }

  #lookInto(number: number): Violation | null {
    const node = this.#nodes[number]
    if (node === undefined) return null
    for (const [index, price] of prices.entries()) {
      const left = this.#purse.pay(node.left, price)
      if (left === null) continue
      const violation = this.#expand(number, node, index, price)
      if (violation !== null) return violation
      for (const world of this.#graph.successors(node.world, index)) this.#reach(world, left, number)
    }
    return null
  }

  #expand(number: number, { world }: Node, index: number, price: Price): Violation | null {
    if (this.#graph.isExpanded(world, index)) return null
    const here = this.#worlds[world]
    if (here === undefined) return null
    const happenings: { to: number; kind: boolean }[] = []
    for (const happening of this.#happenings.at(price, here)) {
      const findings = this.#check(here, happening)
      if (findings.length > 0) return { findings, trace: [...this.#traceTo(number), happening] }
      happenings.push({ to: this.#numberOf(happening.world), kind: happening.kind })
    }
    this.#graph.expand(world, index, happenings)
    return null
  }

  #reach(world: number, left: number, from: number): void {
    const covered = this.#covered[world] ?? 0
    if ((covered & (1 << left)) !== 0) return
    this.#covered[world] = covered | (this.#purse.covers[left] ?? 0)
    this.#nodes.push({ world, left, from })
  }

  #numberOf(world: World): number {
    const key = keyOf(world)
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const number = this.#graph.addWorld()
    this.#numbers.set(key, number)
    this.#worlds.push(world)
    return number
  }

  /** Which happenings led to a node is not kept: they are found again on the way. */
  #traceTo(number: number): readonly Happening[] {
    const node = this.#nodes[number]
    if (node === undefined) return []
    const before = this.#nodes[node.from]
    if (before === undefined) return [this.#happenings.begin()]
    const trace = this.#traceTo(node.from)
    const here = this.#worlds[before.world]
    if (here === undefined) return trace
    for (const price of prices) {
      if (this.#purse.pay(before.left, price) !== node.left) continue
      for (const happening of this.#happenings.at(price, here))
        if (this.#numberOf(happening.world) === node.world) return [...trace, happening]
    }
    return trace
  }
}
