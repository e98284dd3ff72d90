/** The certificates of DPS or of a hub over Azure's management API: add, prove possession, delete. */
import { request, type Agent } from 'node:https'
import { generateKeyFile, type TestAuthority } from 'leafkeeper-sim'

/** Where the management API is asked, and by whom. */
export interface ManagementAccess {
  /** `/subscriptions/.../providers/Microsoft.Devices/provisioningServices/NAME`, or `.../IotHubs/NAME` */
  readonly resource: string
  readonly token: string
  readonly agent?: Agent
}

interface Answer {
  readonly etag: string
  readonly properties: { readonly isVerified?: boolean; readonly verificationCode?: string }
}

/** Certificates of authorities, as the owner of a provisioning service or of a hub keeps them. */
export class AuthorityCertificates {
  readonly #access: ManagementAccess

  constructor(access: ManagementAccess) {
    this.#access = access
  }

  /** Adds an authority that nobody has proven to possess. */
  async add(name: string, authority: TestAuthority): Promise<void> {
    const properties = { certificate: authority.certificate }
    await this.#call('PUT', `/${name}`, { body: { properties } })
  }

  /** Proves possession: signs the code that the service asks for. */
  async verify(name: string, authority: TestAuthority): Promise<void> {
    const { etag } = await this.#call('GET', `/${name}`)
    const asked = await this.#call('POST', `/${name}/generateVerificationCode`, { ifMatch: etag })
    const { publicKey } = await generateKeyFile()
    const commonName = asked.properties.verificationCode ?? ''
    const { certificate } = await authority.issueLeaf({ publicKey, commonName })
    await this.#call('POST', `/${name}/verify`, { ifMatch: asked.etag, body: { certificate } })
  }

  /** Whether possession is proven. */
  async isVerified(name: string): Promise<boolean> {
    const { properties } = await this.#call('GET', `/${name}`)
    return properties.isVerified === true
  }

  async delete(name: string): Promise<void> {
    const { etag } = await this.#call('GET', `/${name}`)
    await this.#call('DELETE', `/${name}`, { ifMatch: etag })
  }

  async #call(
    method: string,
    path: string,
    { body, ifMatch }: { readonly body?: object; readonly ifMatch?: string } = {},
  ): Promise<Answer> {
    const { resource, token, agent } = this.#access
    const text = body === undefined ? '' : JSON.stringify(body)
    const version = /\/IotHubs\//i.test(resource) ? '2023-06-30' : '2022-12-12'
    return new Promise((resolve, reject) => {
      const sent = request(
        `https://management.azure.com${resource}/certificates${path}?api-version=${version}`,
        {
          method,
          ...(agent === undefined ? {} : { agent }),
          headers: {
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
            ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
          },
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () => {
            const received = Buffer.concat(chunks).toString()
            const { statusCode = 0 } = response
            if (statusCode >= 300) reject(new Error(`${method} ${path}: ${statusCode} ${received}`))
            else resolve(JSON.parse(received === '' ? '{}' : received) as Answer)
          })
        },
      )
      sent.on('error', reject)
      sent.end(text)
    })
  }
}
