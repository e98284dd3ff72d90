import type { Price } from './happenings.ts'

/** What an exploration may spend in one trace. */
export interface Budget {
  readonly rolls: number
  readonly crashes: number
  readonly faults: number
}

/**
 * The amounts that can be left of a budget, by number; what is more costs nothing to remember: a world that was reached
 * with more left has all the futures of the same world with less.
 */
export class Purse {
  readonly #budget: Budget
  readonly size: number
  /** For each amount a bit for every amount that it covers. */
  readonly covers: readonly number[]

  constructor(budget: Budget) {
    this.#budget = budget
    this.size = (budget.rolls + 1) * (budget.crashes + 1) * (budget.faults + 1)
    if (this.size > 31)
      throw new RangeError(`Expected a budget of at most 31 different amounts, got ${this.size}.`)
    const amounts = Array.from({ length: this.size }, (_, number) => this.#amount(number))
    this.covers = amounts.map((more) =>
      amounts.reduce((bits, less, number) => (contains(more, less) ? bits | (1 << number) : bits), 0),
    )
  }

  /** The number of the whole budget. */
  get full(): number {
    return this.size - 1
  }

  /** The number of what is left after a price was paid; `null` where it cannot be paid. */
  pay(number: number, price: Price): number | null {
    const { rolls, crashes, faults } = this.#amount(number)
    const left = {
      rolls: rolls - (price === 'roll' ? 1 : 0),
      crashes: crashes - (price === 'crash' || price === 'crash and fault' ? 1 : 0),
      faults: faults - (price === 'fault' || price === 'crash and fault' ? 1 : 0),
    }
    return Math.min(left.rolls, left.crashes, left.faults) < 0 ? null : this.#number(left)
  }

  #amount(number: number): Budget {
    const { crashes, faults } = this.#budget
    return {
      faults: number % (faults + 1),
      crashes: Math.floor(number / (faults + 1)) % (crashes + 1),
      rolls: Math.floor(number / ((faults + 1) * (crashes + 1))),
    }
  }

  #number({ rolls, crashes, faults }: Budget): number {
    return (rolls * (this.#budget.crashes + 1) + crashes) * (this.#budget.faults + 1) + faults
  }
}

function contains(more: Budget, less: Budget): boolean {
  return more.rolls >= less.rolls && more.crashes >= less.crashes && more.faults >= less.faults
}
