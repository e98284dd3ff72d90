/** The EST server against clients that were not written here: strongSwan's pki, and curl with openssl. */
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { estUser, SimulatedCloud } from 'leafkeeper-sim'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'

const run = promisify(execFile)

let cloud: SimulatedCloud
let folder: string
let inFolder: (name: string) => string

beforeEach(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  onTestFinished(() => cloud.close())
  folder = await temporaryFolder()
  inFolder = (name) => join(folder, name)
  await writeFile(inFolder('tls.pem'), cloud.trustedAuthorities)
})

/** Runs a command in the folder. @returns what it has printed, as bytes */
async function command(program: string, ...args: string[]): Promise<Buffer> {
  const { stdout } = await run(program, args, { cwd: folder, encoding: 'buffer' })
  return stdout
}

/** A key and a request for it, made by strongSwan. */
async function pkiRequest(name: string): Promise<void> {
  await writeFile(
    inFolder(`${name}.key`),
    await command('pki', '--gen', '--type', 'ecdsa', '--size', '256', '--outform', 'pem'),
  )
  const names = ['--dn', 'CN=device-1', '--san', 'device-1.example']
  await writeFile(
    inFolder(`${name}.csr`),
    await command('pki', '--req', '--type', 'priv', '--in', `${name}.key`, ...names),
  )
}

/** Enrols by strongSwan; with `by`, re-enrols. */
async function pkiEnrol(url: string, name: string, who: readonly string[]): Promise<X509Certificate> {
  const trust = ['tls.pem', 'ca.pem', 'ca-1.pem'].flatMap((file) => ['--cacert', file])
  const asked = ['--est', '--url', url, ...trust, ...who, '--in', `${name}.csr`, '--outform', 'pem']
  const pem = await command('pki', ...asked)
  await writeFile(inFolder(`${name}.pem`), pem)
  return new X509Certificate(pem)
}

it('pki --estca, --est with a password and --est with the certificate enrol and renew', async () => {
  const url = `https://${cloud.address}`
  await command(
    'pki',
    ...['--estca', '--url', url, '--cacert', 'tls.pem', '--caout', 'ca.pem', '--outform', 'pem'],
  )
  const authority = await cloud.est.authority()
  const [root, issuer] = await Promise.all(
    ['ca.pem', 'ca-1.pem'].map(async (name) => new X509Certificate(await readFile(inFolder(name)))),
  )
  expect(String(issuer) + String(root)).toBe(authority.chain)

  await pkiRequest('first')
  const first = await pkiEnrol(url, 'first', ['--userpass', `${estUser}:${cloud.est.password}`])
  expect(first).toMatchObject({ subject: 'CN=device-1', subjectAltName: 'DNS:device-1.example' })

  await pkiRequest('second')
  const told = cloud.waitFor('estAnswered')
  const second = await pkiEnrol(url, 'second', ['--cert', 'first.pem', '--key', 'first.key'])
  expect(await told).toMatchObject({ operation: 'simplereenroll', status: 200 })
  expect(second.subject).toBe(first.subject)
  expect(second.publicKey.equals(first.publicKey)).toBe(false)
})

it('pki --est waits as long as Retry-After says', async () => {
  cloud.est.put({ label: '', approval: 'manual', retryAfterSeconds: 1 })
  const url = `https://${cloud.address}`
  const estca = ['--estca', '--url', url, '--cacert', 'tls.pem', '--caout', 'ca.pem', '--outform', 'pem']
  await command('pki', ...estca)
  await pkiRequest('slow')
  const asked = cloud.waitFor('estAnswered', ({ status }) => status === 202)
  const user = ['--userpass', `${estUser}:${cloud.est.password}`]
  const enrolled = pkiEnrol(url, 'slow', [...user, '--interval', '1'])
  await asked
  cloud.est.approve()
  expect((await enrolled).subject).toBe('CN=device-1')
})

it('curl and openssl read cacerts, csrattrs and an enrolment', async () => {
  cloud.est.put({ label: 'named', attributes: ['1.2.840.113549.1.9.14'] })
  const fetched = async (path: string, ...more: string[]): Promise<Buffer> =>
    command(
      'curl',
      ...['--silent', '--show-error', '--fail', '--cacert', 'tls.pem'],
      ...more,
      cloud.estUrl + path,
    )
  const opened = async (base64: Buffer, ...how: string[]): Promise<string> => {
    await writeFile(inFolder('answer.der'), Buffer.from(base64.toString(), 'base64'))
    return (await command('openssl', ...how, '-inform', 'DER', '-in', 'answer.der')).toString()
  }
  const printed = await opened(await fetched('/named/cacerts'), 'pkcs7', '-print_certs', '-noout')
  expect(printed.match(/^subject=.*$/gm)).toEqual([
    expect.stringContaining('EST issuer'),
    expect.stringContaining('EST root'),
  ])
  expect(await opened(await fetched('/named/csrattrs'), 'asn1parse')).toContain(
    'OBJECT            :Extension Request',
  )

  const subject = ['-nodes', '-keyout', 'curl.key', '-subj', '/CN=device-1', '-out', 'curl.csr']
  await command(
    'openssl',
    ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-outform', 'DER'],
    ...subject,
  )
  await writeFile(inFolder('curl.b64'), (await readFile(inFolder('curl.csr'))).toString('base64'))
  const issued = await fetched(
    '/simpleenroll',
    ...['--user', `${estUser}:${cloud.est.password}`, '--header', 'Content-Type: application/pkcs10'],
    ...['--data-binary', '@curl.b64'],
  )
  expect(await opened(issued, 'pkcs7', '-print_certs', '-noout')).toContain('CN = device-1')
})
