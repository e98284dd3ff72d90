/** A query that is wrong, or that asks for more than this hub can do. */
export class QueryRefused extends Error {
  override readonly name = 'QueryRefused'
  /** Where, counted in characters from 0. */
  readonly at: number

  constructor(why: string, at: number) {
    super(`${why} (at character ${at + 1})`)
    this.at = at
  }
}
