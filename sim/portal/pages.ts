import type { Context, Hono } from 'hono'
import type { SimulatedCloud } from '../cloud.ts'
import type { Access } from './access.ts'
import { ServiceError } from '../errors.ts'
import { QueryRefused } from '../hub/query/query-refused.ts'
import { document, liveParts } from './document.ts'
import { Form, type FormFields } from './form.ts'
import { liveStream } from './live-stream.ts'
import { noticeOf, type Done } from './notices.ts'
import type { Notice, Page } from './page.ts'
import type { DeviceHistories } from './timeline/device-histories.ts'

/** What the pages show. */
export interface PortalParts {
  readonly cloud: SimulatedCloud
  readonly histories: DeviceHistories
  readonly access: Access
  /** Of the pages: JavaScript. */
  readonly script: string
}

/** What came of a form: where to go on and what to say there, or what to say on the page that it was sent from. */
export type Outcome = { readonly to: string; readonly done: Done } | { readonly said: Notice }

/** What a form does. */
export interface Action {
  /** The page that the form stands on: shown again with what was wrong. */
  readonly page: (context: Context) => Page
  /** @throws ServiceError, RangeError, QueryRefused with what was wrong, for the person who has sent it */
  readonly run: (form: Form, context: Context) => Outcome | Promise<Outcome>
}

/**
 * Puts pages under their paths: each as a document, and as the stream of its changes for whoever asks for that; and what
 * their forms do.
 */
export class Pages {
  readonly #app: Hono
  readonly #parts: PortalParts

  constructor(app: Hono, parts: PortalParts) {
    this.#app = app
    this.#parts = parts
  }

  /**
   * @param path - as in Hono, with `:names`
   * @param page - asked again for each look at the page @throws ServiceError 404 when there is nothing under the path
   */
  show(path: string, page: (context: Context) => Page): void {
    const { access, histories } = this.#parts
    this.#app.get(path, (context) => {
      if (context.req.header('accept') === 'text/event-stream') {
        return liveStream(context, {
          parts: () => liveParts(page(context), access.csrf),
          onChange: (listener) => histories.onChange(listener),
        })
      }
      const notice = noticeOf(context.req.query('done'))
      return context.html(document(page(context), access.csrf, { notice }))
    })
  }

  /**
   * Does what a form asks for. What was done is kept before it is said, as with the APIs of a cloud.
   *
   * @param path - where the form is sent to
   */
  act(path: string, { page, run }: Action): void {
    const { access, cloud } = this.#parts
    this.#app.post(path, async (context) => {
      const form = new Form((await context.req.parseBody()) as FormFields)
      try {
        const outcome = await run(form, context)
        await cloud.save()
        if ('to' in outcome) return context.redirect(withDone(outcome.to, outcome.done), 303)
        return context.html(document(page(context), access.csrf, { notice: outcome.said, refused: form }))
      } catch (error) {
        const status = refusalStatus(error)
        const notice: Notice = { tone: 'bad', text: inWords(error) }
        context.status(status as Parameters<typeof context.status>[0])
        return context.html(document(page(context), access.csrf, { notice, refused: form }))
      }
    })
  }
}

function withDone(to: string, done: Done): string {
  const [path = '/', anchor] = to.split('#')
  return `${path}?done=${done}${anchor === undefined ? '' : `#${anchor}`}`
}

/** The status of what a person can mend. @throws the error when it is a defect */
function refusalStatus(error: unknown): number {
  if (error instanceof ServiceError) return error.status
  if (error instanceof RangeError || error instanceof QueryRefused) return 400
  throw error
}

function inWords(error: unknown): string {
  if (error instanceof ServiceError && error.status === 412) {
    return 'It has been changed since this page was opened. Here it is as it is now: look at it, and do it again.'
  }
  // Hubs put the name of the error in front, for programs.
  return error instanceof Error ? error.message.replace(/^ErrorCode:\w+;/, '') : String(error)
}
