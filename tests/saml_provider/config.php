<?php
// SimpleSAMLphp as an identity provider of one test run. TASKGATE_SAML_BOX is its folder:
// it holds the key pair, options.json (what a test changes), and sp.xml (the gate's metadata).
$box = getenv('TASKGATE_SAML_BOX');
$config = [
    'baseurlpath' => getenv('TASKGATE_SAML_BASE') . '/',
    'certdir' => $box . '/',
    'loggingdir' => $box . '/log/',
    'datadir' => $box . '/data/',
    'tempdir' => $box . '/tmp',
    'metadatadir' => $box . '/metadata',
    'timezone' => 'UTC',
    'secretsalt' => 'of-the-tests-alone',
    'auth.adminpassword' => 'of-the-tests-alone',
    'technicalcontact_email' => 'nobody@example.org',
    'trusted.url.domains' => null,
    'showerrors' => true,
    'logging.level' => SimpleSAML\Logger::NOTICE,
    'logging.handler' => 'file',
    'enable.saml20-idp' => true,
    'module.enable' => ['core' => true, 'saml' => true, 'exampleauth' => true],
    'session.cookie.secure' => false,
    'session.cookie.samesite' => null,
    'session.phpsession.savepath' => $box . '/tmp',
    'session.phpsession.cookiename' => 'SimpleSAML',
    'store.type' => 'phpsession',
    'language.available' => ['en'],
    'language.default' => 'en',
    'language.cookie.secure' => false,
    'language.cookie.samesite' => null,
    'theme.use' => 'default',
    'authproc.idp' => [],
    'metadata.sources' => file_exists($box . '/sp.xml')
        ? [['type' => 'flatfile'], ['type' => 'xml', 'file' => $box . '/sp.xml']]
        : [['type' => 'flatfile']],
    'metadata.sign.enable' => true,
    'metadata.sign.privatekey' => 'idp.key',
    'metadata.sign.certificate' => 'idp.crt',
    'metadata.sign.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
];
