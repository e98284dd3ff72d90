import { setTimeout as wait } from 'node:timers/promises'
import { ServiceError } from '../errors.ts'
import { refusal as refusalOf, type ErrorStyle } from '../http/error-style.ts'
import type { HttpApp } from '../http/http-front.ts'
import type { Trouble } from './faults.ts'

/** How one app is disturbed. */
export interface HttpTrouble {
  /** What happens to this request, which counts as one. */
  readonly of: (request: Request) => Trouble
  readonly errors: ErrorStyle
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** An app that meets with the faults that are set. */
export function troubledApp(app: HttpApp, { of, errors, now }: HttpTrouble): HttpApp {
  return {
    fetch: async (request, env) => {
      const { delayMs, cut, refusal } = of(request)
      if (delayMs > 0) await wait(delayMs)
      const hangUp = (): Response => {
        env.incoming.socket.destroy()
        return new Response(null, { status: 500 })
      }
      if (cut === 'before') return hangUp()
      if (refusal !== undefined) {
        const { status, retryAfter } = refusal
        const error = new ServiceError(status, status * 1000 + 1, 'A fault was asked for.', retryAfter)
        return refusalOf(error, errors, now())
      }
      const response = await app.fetch(request, env)
      return cut === 'after' ? hangUp() : response
    },
  }
}
