// @peculiar/x509 finds its parts by dependency injection, which needs this first.
import 'reflect-metadata'

export * from '@peculiar/x509'
