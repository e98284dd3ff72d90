import type { Context } from 'hono'
import { X509Certificate } from 'node:crypto'
import type { NamedCertificate } from '../../certificates/certificate-store.ts'
import type { SimulatedCloud } from '../../cloud.ts'
import { ServiceError } from '../../errors.ts'
import { certificateField, choice, hidden, submit, textField, tickBox } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Html } from '../html.ts'
import { instant, state, thumbprint } from '../marks.ts'
import type { Page, PageTools } from '../page.ts'
import type { Outcome, Pages, PortalParts } from '../pages.ts'
import { facts, table } from '../table.ts'
import { certificateOwners, type CertificateOwner } from './certificate-owners.ts'
import { deleteForm } from './delete-form.ts'

/** `/certificates`: the authorities that DPS and the hubs know, and a page for each, with its proof of possession. */
export function addCertificatePages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/certificates', () => listPage(cloud))
  pages.act('/certificates', { page: () => listPage(cloud), run: async (form) => add(cloud, form) })

  const page = (context: Context): Page => certificatePage(...found(cloud, context))
  const path = '/certificates/:owner/:name'
  pages.show(path, page)
  pages.act(`${path}/code`, {
    page,
    run: (form, context) => {
      const [owner, { name }] = found(cloud, context)
      owner.store.generateVerificationCode(name, form.text('etag'))
      return { to: certificatePath(owner, name), done: 'code' }
    },
  })
  pages.act(`${path}/verify`, {
    page,
    run: async (form, context) => {
      const [owner, { name }] = found(cloud, context)
      owner.store.verify(name, await requiredCertificate(form, 'proof'), form.text('etag'))
      return { to: certificatePath(owner, name), done: 'verified' }
    },
  })
  pages.act(`${path}/delete`, {
    page,
    run: (form, context) => {
      const [owner, { name }] = found(cloud, context)
      owner.store.delete(name, form.text('etag'))
      return { to: '/certificates', done: 'deleted' }
    },
  })
}

function listPage(cloud: SimulatedCloud): Page {
  const owners = certificateOwners(cloud)
  return {
    title: 'CA certificates',
    section: 'certificates',
    path: '/certificates',
    body: (tools) => html`
      ${owners.map(
        (owner) =>
          html`<h2>${owner.name}</h2>
            ${tools.live(owner.key, certificateTable(owner))}`,
      )}
      <h2>Add a certificate</h2>
      ${tools.form(
        '/certificates',
        html`
          ${choice({
            name: 'owner',
            label: 'Service',
            value: tools.written('owner', 'dps'),
            options: owners.map(({ key, name }) => [key, name] as const),
          })}
          ${textField({
            name: 'name',
            label: 'Certificate name',
            value: tools.written('name', ''),
            required: true,
          })}
          ${certificateField({ name: 'file', label: 'Certificate file', hint: 'PEM or DER.', required: true })}
          ${tickBox({
            name: 'verified',
            label: 'Set certificate status to verified on upload',
            hint: 'Otherwise it counts when you have proven that you possess its private key.',
            ticked: tools.ticked('verified', false),
          })}
          ${submit('Add')}
        `,
      )}
    `,
  }
}

function certificateTable(owner: CertificateOwner): Html {
  return table(
    `CA certificates of ${owner.name}`,
    [
      ['Name', ({ name }) => html`<a href="${certificatePath(owner, name)}">${name}</a>`],
      ['Status', verification],
      ['Subject', ({ subject }) => subject],
      ['Thumbprint', (one) => thumbprint(one.thumbprint)],
      ['Expires', ({ expiry }) => instant(Date.parse(expiry))],
    ],
    owner.store.list(),
    'There is no certificate.',
  )
}

function certificatePage(owner: CertificateOwner, certificate: NamedCertificate): Page {
  const { name, etag, isVerified } = certificate
  const path = certificatePath(owner, name)
  const { issuer } = new X509Certificate(Buffer.from(certificate.certificate, 'base64'))
  return {
    title: name,
    section: 'certificates',
    path,
    above: [{ path: '/certificates', name: 'CA certificates' }],
    body: (tools) => html`
      ${tools.live(
        'certificate',
        facts([
          ['Service', owner.name],
          ['Status', verification(certificate)],
          ['Subject', certificate.subject],
          ['Issuer', issuer.split('\n').join(', ')],
          ['Thumbprint', thumbprint(certificate.thumbprint)],
          ['Expires', instant(Date.parse(certificate.expiry))],
        ]),
      )}
      ${!isVerified && verificationForms(tools, path, certificate)}
      ${deleteForm(tools, `${path}/delete`, 'certificate', etag)}
    `,
  }
}

function verificationForms({ form }: PageTools, path: string, certificate: NamedCertificate): Html {
  const { etag, verificationCode: code } = certificate
  return html`
    <h2>Verify</h2>
    <ol class="steps">
      <li>
        <p>Generate a verification code.</p>
        ${form(`${path}/code`, html`${hidden('etag', etag)} ${submit('Generate verification code', 'plain')}`)}
        ${
          code !== undefined &&
          html`<div class="field">
            <label for="code">Verification code</label>
            <input id="code" class="code" value="${code}" readonly />
          </div>`
        }
      </li>
      <li>
        <p>Sign a certificate with the code as its common name by the authority's private key:</p>
        <pre tabindex="0">
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout proof.key   -subj "/CN=${code ?? 'CODE'}" -out proof.csr
openssl x509 -req -in proof.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -out proof.pem</pre>
      </li>
      <li>
        <p>Upload that certificate.</p>
        ${form(
          `${path}/verify`,
          html`${hidden('etag', etag)}
          ${certificateField({ name: 'proof', label: 'Verification certificate file', required: true })}
          ${submit('Verify')}`,
        )}
      </li>
    </ol>
  `
}

async function add(cloud: SimulatedCloud, form: Form): Promise<Outcome> {
  const owner = requiredOwner(cloud, form.text('owner'))
  const name = form.text('name')
  if (owner.store.get(name) !== undefined) {
    throw new ServiceError(409, 409020, `There is a certificate "${name}" already: delete it first.`)
  }
  owner.store.put(name, await requiredCertificate(form, 'file'), form.isTicked('verified'))
  return { to: certificatePath(owner, name), done: 'added' }
}

function verification({ isVerified }: NamedCertificate): Html {
  return state(isVerified ? 'verified' : 'unverified', isVerified ? 'good' : 'bad')
}

function certificatePath({ key }: CertificateOwner, name: string): string {
  return `/certificates/${key}/${encodeURIComponent(name)}`
}

async function requiredCertificate(form: Form, field: string): Promise<string> {
  const pem = await form.certificate(field)
  if (pem === undefined) throw new ServiceError(400, 400004, 'Expected a file with a certificate.')
  return pem
}

function requiredOwner(cloud: SimulatedCloud, key: string): CertificateOwner {
  const owner = certificateOwners(cloud).find((one) => one.key === key)
  if (owner === undefined) throw new ServiceError(404, 404000, `There is no service "${key}".`)
  return owner
}

function found(cloud: SimulatedCloud, context: Context): [CertificateOwner, NamedCertificate] {
  const owner = requiredOwner(cloud, context.req.param('owner') ?? '')
  const name = context.req.param('name') ?? ''
  const certificate = owner.store.get(name)
  if (certificate === undefined) {
    throw new ServiceError(404, 404201, `${owner.name} has no certificate "${name}".`)
  }
  return [owner, certificate]
}
