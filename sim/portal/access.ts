import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'

/** The field of every form that shows that this portal has written it. */
export const csrfField = 'csrf'

/**
 * Who may use a portal. Its address holds a secret; whoever opens it gets a cookie, and forms carry another secret
 * that follows from it. Every browser of the machine reaches a loopback port, and with it every page that is open
 * there, and every user: the secret keeps out the users, `SameSite` and the forms' secret the pages, and the check of
 * the Host header those pages whose own name has been made to lead to the loopback address (DNS rebinding).
 */
export class Access {
  /** Part of the address that is printed. Good for as long as the portal runs. */
  readonly token = secret()
  /** What forms carry. */
  readonly csrf: string
  readonly #session = secret()
  readonly #port: () => number

  /** @param port - of the portal, known once it listens */
  constructor(port: () => number) {
    this.#port = port
    this.csrf = createHmac('sha256', this.#session).update('csrf').digest('base64url')
  }

  /** Refuses requests for any host but the portal's own addresses. */
  readonly ownHost: MiddlewareHandler = async (context, next) => {
    const hosts = this.#hosts()
    if (!hosts.includes(context.req.header('host') ?? '')) {
      return context.text(`Expected the host ${hosts.join(' or ')}.\n`, 403)
    }
    await next()
    return undefined
  }

  /** Refuses requests without the cookie. */
  readonly session: MiddlewareHandler = async (context, next) => {
    if (!isSame(getCookie(context, this.#cookieName()), this.#session)) {
      const advice = 'Open the portal by the whole address that was printed when it started.'
      return context.text(`${advice}\n`, 403)
    }
    await next()
    return undefined
  }

  /** Refuses what was not sent by a form of this portal. */
  readonly ownForm: MiddlewareHandler = async (context, next) => {
    const { method } = context.req
    if (method === 'GET' || method === 'HEAD') return next()
    const origin = context.req.header('origin')
    const isForeign = origin !== undefined && !this.#hosts().some((host) => origin === `http://${host}`)
    const sent = isForeign ? undefined : (await context.req.parseBody())[csrfField]
    if (typeof sent !== 'string' || !isSame(sent, this.csrf)) {
      return context.text(
        'This form was not written by the portal that runs now: open its page again.\n',
        403,
      )
    }
    return next()
  }

  /** Gives the cookie for the right token. @returns whether it was the right one */
  enter(context: Context, token: string | undefined): boolean {
    if (!isSame(token, this.token)) return false
    setCookie(context, this.#cookieName(), this.#session, { httpOnly: true, sameSite: 'Strict', path: '/' })
    return true
  }

  #hosts(): readonly string[] {
    return [`127.0.0.1:${this.#port()}`, `localhost:${this.#port()}`]
  }

  /** Cookies are the same for all ports of a host: two portals must not overwrite each other's. */
  #cookieName(): string {
    return `leafkeeper-portal-${this.#port()}`
  }
}

function secret(): string {
  return randomBytes(32).toString('base64url')
}

function isSame(given: string | undefined, expected: string): boolean {
  const [one, other] = [Buffer.from(given ?? ''), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}
