/** A request that waits for somebody to say yes or no. */
export interface PendingRequest {
  /** Label, names and key: the same each time the request is repeated. */
  readonly id: string
  readonly label: string
  readonly commonName: string
  readonly decision: 'waiting' | 'approved' | 'rejected'
}

/** The requests that are not decided, or whose sender has not come back for the decision. */
export class PendingRequests {
  readonly #requests = new Map<string, PendingRequest>()

  list(): readonly PendingRequest[] {
    return [...this.#requests.values()]
  }

  /** What was decided on a request; `undefined` where it has never been here. */
  decisionOn(id: string): PendingRequest['decision'] | undefined {
    return this.#requests.get(id)?.decision
  }

  add(request: Omit<PendingRequest, 'decision'>): void {
    this.#requests.set(request.id, { ...request, decision: 'waiting' })
  }

  forget(id: string): void {
    this.#requests.delete(id)
  }

  /** Decides on a request, or on all that wait. @throws RangeError where there is no such request */
  decide(decision: 'approved' | 'rejected', id?: string): void {
    const meant = id === undefined ? this.list().filter((one) => one.decision === 'waiting') : [this.#get(id)]
    for (const request of meant) this.#requests.set(request.id, { ...request, decision })
  }

  restore(requests: readonly PendingRequest[]): void {
    this.#requests.clear()
    for (const request of requests) this.#requests.set(request.id, request)
  }

  #get(id: string): PendingRequest {
    const request = this.#requests.get(id)
    if (request === undefined) throw new RangeError(`No request "${id}" is pending.`)
    return request
  }
}
