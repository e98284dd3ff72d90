/**
 * What the simulated services answer when they refuse: the HTTP status and the error code that Azure would give.
 *
 * @example
 * ```ts
 * await cloud.hub('hub-a').invokeMethod('device-1', { methodName: 'x' }).catch((error) => {
 *   if (error instanceof ServiceError && error.errorCode === 404103) console.log('not connected')
 * })
 * ```
 */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  /** As HTTP has them: 400, 401, 404, 409, 412, 429, 504 ... */
  readonly status: number
  /** Azure's own number, such as 401002 or 404103. */
  readonly errorCode: number
  /** When to come back, in seconds, where the service says so. */
  readonly retryAfter: number | undefined

  constructor(status: number, errorCode: number, message: string, retryAfter?: number) {
    super(message)
    this.status = status
    this.errorCode = errorCode
    this.retryAfter = retryAfter
  }
}
