import { request, type IncomingHttpHeaders } from 'node:http'
import { onTestFinished } from 'vitest'
import { Portal, SimulatedCloud, type CloudOptions } from 'leafkeeper-sim'
import { portalAssets } from '../support/portal-assets.ts'

/** What a portal has answered. */
export interface PortalAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** What is asked of a portal. */
export interface PortalQuestion {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

/** Asks the portal as any program of this machine can. `fetch` would not send every Host header. */
export async function ask(url: string, question: PortalQuestion = {}): Promise<PortalAnswer> {
  const { method = 'GET', headers = {}, body } = question
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, headers: received } = response
        resolve({ status: statusCode, headers: received, text: Buffer.concat(chunks).toString() })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** A cloud with its portal, until the test ends. */
export async function openPortal(
  options: CloudOptions = {},
): Promise<{ readonly cloud: SimulatedCloud; readonly portal: Portal; readonly origin: string }> {
  const cloud = await SimulatedCloud.start({ hubs: ['hub-a'], ...options })
  onTestFinished(() => cloud.close())
  const portal = await Portal.start(cloud, { assets: portalAssets() })
  onTestFinished(() => portal.close())
  return { cloud, portal, origin: new URL(portal.url).origin }
}

/** Somebody who has opened the portal by its whole address. */
export class Visitor {
  readonly cookie: string
  readonly #origin: string

  private constructor(origin: string, cookie: string) {
    this.#origin = origin
    this.cookie = cookie
  }

  static async enter({ url }: Portal): Promise<Visitor> {
    const { headers } = await ask(url)
    const [cookie = ''] = headers['set-cookie'] ?? []
    return new Visitor(new URL(url).origin, cookie.split(';')[0] ?? '')
  }

  async see(path: string): Promise<PortalAnswer> {
    return ask(`${this.#origin}${path}`, { headers: { cookie: this.cookie } })
  }

  /** Sends a form as the page has it, with these things written into it; a value of `undefined` empties a field. */
  async send(
    path: string,
    action: string,
    written: Readonly<Record<string, string | File | undefined>>,
  ): Promise<PortalAnswer> {
    const fields = new FormData()
    const { text } = await this.see(path)
    for (const [name, value] of Object.entries({ ...fieldsOf(text, action), ...written })) {
      if (value !== undefined) fields.append(name, value)
    }
    const body = new Response(fields)
    return ask(`${this.#origin}${action}`, {
      method: 'POST',
      headers: { cookie: this.cookie, 'content-type': body.headers.get('content-type') ?? '' },
      body: Buffer.from(await body.arrayBuffer()),
    })
  }
}

/** A file to upload. */
export function pemFile(pem: string, name = 'certificate.pem'): File {
  return new File([pem], name)
}

/** What is written into the form with this action: hidden fields, texts, ticked boxes, choices. */
function fieldsOf(page: string, action: string): Record<string, string> {
  const form = page.split('<form').find((one) => one.includes(`action="${action}"`))
  if (form === undefined) throw new Error(`The page has no form for ${action}.`)
  const [inside = ''] = form.split('</form>')
  const fields: Record<string, string> = {}
  const attribute = (tag: string, name: string): string | undefined =>
    new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1]
  for (const [tag] of inside.matchAll(/<input[^>]*>/g)) {
    const [name, type] = [attribute(tag, 'name'), attribute(tag, 'type')]
    const isChosen = (type !== 'checkbox' && type !== 'radio') || /\schecked\b/.test(tag)
    if (name !== undefined && type !== 'file' && isChosen) fields[name] = attribute(tag, 'value') ?? ''
  }
  for (const [select] of inside.matchAll(/<select[\s\S]*?<\/select>/g)) {
    const chosen = /<option[^>]*\sselected[^>]*>/.exec(select) ?? /<option[^>]*>/.exec(select)
    fields[attribute(select, 'name') ?? ''] = attribute(chosen?.[0] ?? '', 'value') ?? ''
  }
  for (const [, name = '', text = ''] of inside.matchAll(
    /<textarea[^>]*\sname="([^"]*)"[^>]*>\n?([\s\S]*?)<\/textarea/g,
  )) {
    fields[name] = text
  }
  return fields
}
